"""How the objects of a part are brought back: from its seal, or made again from its origin.

Nothing is put whose digest is not the one that was sealed.
"""

import base64
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from dpipe import compute, ledger
from dpipe.build import PartLayout, PartSpec, check_unchanged, lay_out, lazy, note_rest, unreadable
from dpipe.catalog import opening, seals
from dpipe.checks import store as checks_store
from dpipe.errors import DpipeError, NotFoundError
from dpipe.storage import Objects, chunking, documents, zarr


@dataclass
class Part:
    """A damaged sealed part.

    Attributes
    ----------
    objects : Objects
        The store.
    sealed : Seal
        Its seal.
    """

    objects: Objects
    sealed: seals.Seal

    @cached_property
    def origin(self) -> PartSpec:
        """How it was made."""
        return PartSpec.from_dict(self.sealed.provenance["origin"])

    @cached_property
    def ds(self) -> xr.Dataset:
        """Its Dataset, lazily, from its sources or inputs."""
        if self.origin.kind not in ("reader", "operator"):
            raise NotFoundError("it was saved from memory; nothing could make it again")
        if self.origin.kind == "reader":
            check_unchanged(self.origin)
        return lazy(self.objects, self.origin)

    @cached_property
    def outline(self) -> PartLayout:
        """How it lies in the store."""
        layout = lay_out(self.ds, self.sealed.base, levels=self.origin.levels)
        if _layouts(layout.documents) != _layouts(self.sealed.documents):
            raise NotFoundError(
                "its sources or inputs give other metadata today; they changed, or another version "
                "of the software reads them"
            )
        return layout

    def object(self, name: str) -> bytes:
        """Return an object as it should be, by its key below the part.

        Raises
        ------
        DpipeError
            It cannot be made again; the text says why.
        """
        if name in self.sealed.documents:
            return zarr.stored(self.sealed.documents[name])
        if name in self.sealed.inline:
            return base64.b64decode(self.sealed.inline[name])
        arrays = {array.path: array for array in self.outline.arrays}
        path = name.partition("/c")[0]
        if path in arrays:
            return self._shard(arrays[path], name)
        return self._coordinate(name)

    def _shard(self, array: chunking.Array, name: str) -> bytes:
        """Compute the values of one shard of one level."""
        place = [int(n) for n in name.removeprefix(f"{array.path}/c").split("/") if n]
        levels = self.outline.levels(array.variable)
        top = levels[0]
        cut = {
            dim: slice(i * step, min((i + 1) * step, size))
            for dim, i, step, size in zip(top.dims, place, top.shard, top.shape, strict=True)
        }
        values = compute.compute_region(self.ds, [array.variable], cut)[array.variable]
        for level, region, block in chunking.levels_of(levels, cut, values):
            if level.path == array.path:
                document = self.outline.document(f"{level.path}/zarr.json")
                objects = zarr.encode(document, region, block)
                return objects[name.removeprefix(f"{level.path}/")]
        raise NotFoundError("no level of it has such an object")

    def _coordinate(self, name: str) -> bytes:
        """Return a large coordinate; pictures that proved unreadable are told from stored flags."""
        data = self.outline.coordinates.get(name)
        if data is None:
            raise NotFoundError("nothing that is known of the part is called so")
        if "picture_flag" not in self.ds:
            return data
        coordinate = name.partition("/")[0]
        written = opening.open_sealed(self.objects, self.sealed)
        flags = np.asarray(compute.compute(written["picture_flag"].data)[0])
        changed = unreadable(self.ds, flags)
        if coordinate not in changed:
            return data
        values = changed[coordinate]
        document = self.outline.document(f"{coordinate}/zarr.json")
        whole = (slice(0, len(values)),)
        return next(iter(zarr.encode(document, whole, values).values()))

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Yield every object of the part, made again."""
        for name in self.sealed.documents:
            yield name, self.object(name)
        for name in {**self.sealed.inline, **self.outline.coordinates}:
            yield name, self.object(name)
        for array in self.outline.arrays:
            grid = [range(-(-n // s)) for n, s in zip(array.shape, array.shard, strict=True)]
            for place in itertools.product(*grid):
                name = "/".join([f"{array.path}/c", *map(str, place)])
                yield name, self.object(name)

    def entries(self) -> Mapping[str, seals.ObjectEntry]:
        """Return the list of objects: the one that is there, or made again.

        Raises
        ------
        DpipeError
            It can be had in neither way.
        """
        listed, problem = checks_store.listed(self.objects, self.sealed)
        if not problem:
            return listed
        for objects in (self._stored, self.everything):
            entries = {
                name: seals.ObjectEntry(size=len(data), sha256=documents.sha256(data))
                for name, data in sorted(objects())
            }
            data = json.dumps(entries, indent=0).encode()
            if documents.sha256(data) == self.sealed.objects["sha256"]:
                self.objects.put(f"{self.sealed.base}.objects.json", data)
                return entries
        raise NotFoundError("its list of objects cannot be made again with the digest sealed")

    def sources(self) -> str:
        """Put the list of sources again; return why not, "" if done."""
        try:
            with ledger.recording() as notes:
                for _ in self.everything():
                    pass
            note_rest(self.origin, notes)
        except (DpipeError, OSError, KeyError, ValueError) as error:
            return str(error)
        data = seals.SOURCES.write({"folders": ledger.in_folders(notes.entries())})
        if documents.sha256(data) != self.sealed.sources["sha256"]:
            return "what is read of the sources today is not what was read of them then"
        self.objects.put(seals.sources_key(self.sealed.base), data)
        return ""

    def _stored(self) -> Iterator[tuple[str, bytes]]:
        prefix = f"{self.sealed.path}/"
        for entry in self.objects.list(prefix):
            yield entry.key.removeprefix(prefix), self.objects.read(entry.key)


def _layouts(parsed: Mapping[str, zarr.Document]) -> dict[str, zarr.Document]:
    """Return the documents of a part's arrays without attributes, which may have changed since."""
    return {
        key: {k: v for k, v in document.items() if k != "attributes"}
        for key, document in parsed.items()
        if document["node_type"] == "array"
    }


def mended(part: Part, key: str, entries: Mapping[str, seals.ObjectEntry]) -> str:
    """Bring one object of a part back, or take a stray one away; return why not, "" if done."""
    name = key.removeprefix(f"{part.sealed.path}/")
    if name not in entries:
        part.objects.delete(key)
        return ""
    try:
        data = part.object(name)
    except (DpipeError, OSError, KeyError, ValueError) as error:
        return str(error)
    if documents.sha256(data) != entries[name]["sha256"]:
        return (
            "made again it has another digest; the source changed, the operator is not "
            "deterministic, or other software runs here than made it"
        )
    part.objects.put(key, data)
    return ""
