"""The spec of a part: its fingerprint, and the lazy Dataset that it will hold.

A part comes from a reader and source items, or from an operator and sealed parts. Its fingerprint
is a hash of everything that decides its values: the reader's or operator's version, all
parameters with defaults filled in, and the inputs; not of the machine, the device or the library
versions, which are provenance.

This module knows readers, operators and seals; it writes nothing.
"""

import contextlib
import hashlib
import inspect
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import xarray as xr

from dpipe import compute, ledger, operators, readers, schema, sources
from dpipe.build import growing_folders, parameters
from dpipe.build.parameters import Params
from dpipe.catalog import InputFields, PartRef, SpecFields, opening, seals
from dpipe.errors import GoneError, InputError, StoreError, UsageError
from dpipe.sources import ItemFields
from dpipe.storage import Json, Objects


@dataclass(frozen=True)
class PartSpec:
    """The spec of one part: its reader or operator, parameters and inputs.

    Attributes
    ----------
    kind : {"reader", "operator", "saved"}
        What makes it.
    name : str
        Which reader or operator.
    version : int
        Its version.
    params : dict
        All its parameters, defaults filled in.
    items : tuple of ItemFields
        For a reader: the source items.
    inputs : dict of str to list of InputFields
        For an operator: by parameter, the input parts.
    said : dict
        For a reader: what the recipe sets over what the files say.
    levels : int or None
        Levels of the pyramid, None for as many as the size asks for.
    device : str
        Where it is computed; not part of the fingerprint.
    code : str
        For a reader or operator of a user's own: digest of its code.
    attempt : int
        Of a part that was made when some of its files were gone, and that are back: which one.
    """

    kind: str
    name: str
    version: int
    params: Params = field(default_factory=dict)
    items: tuple[ItemFields, ...] = ()
    inputs: dict[str, list[InputFields]] = field(default_factory=dict)
    said: Json = field(default_factory=dict)
    levels: int | None = None
    device: str = "cpu"
    code: str = ""
    attempt: int = 0

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits.

        An input counts by the fingerprint that it was sealed with, which its key ends in.
        """
        identity: Json = {
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "params": _counted(self),
            "said": self.said,
            "levels": self.levels,
            "items": [[item["path"], item["size"], item["etag"]] for item in self.items],
            "inputs": {
                role: [[part["stem"], part["base"].rpartition("-")[2]] for part in parts]
                for role, parts in self.inputs.items()
            },
        }
        if self.code:
            identity["code"] = self.code
        if self.attempt:
            identity["attempt"] = self.attempt
        text = json.dumps(identity, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_dict(self) -> SpecFields:
        """Return it as plans, marks and seals hold it."""
        return SpecFields(
            kind=self.kind,
            name=self.name,
            version=self.version,
            params=self.params,
            items=self.items,
            inputs=self.inputs,
            said=self.said,
            levels=self.levels,
            device=self.device,
            code=self.code,
            attempt=self.attempt,
        )

    @classmethod
    def from_dict(cls, fields: SpecFields) -> "PartSpec":
        """Return a spec from its fields; the call that made what was saved is no part of it."""
        values: Json = {**fields, "items": tuple(fields["items"])}
        values.pop("made", None)
        return cls(**values)


def _counted(spec: PartSpec) -> Params:
    """Return the parameters that a fingerprint counts: not those that came later, unless given."""
    shelf: Any = {"reader": readers.READERS, "operator": operators.OPERATORS}.get(spec.kind, {})
    entry = shelf.get(spec.name)
    if entry is None or not entry.added:
        return spec.params
    defaults = _defaults(entry.open if spec.kind == "reader" else entry.function)
    return {
        name: value
        for name, value in spec.params.items()
        if name not in entry.added or value != defaults[name]
    }


@cache
def _defaults(function: Callable[..., Any]) -> Params:
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def is_older(fingerprint: str, spec: PartSpec) -> bool:
    """Tell whether a fingerprint is that of the same part as an earlier version of dpipe named it.

    Of an operator of a user's own, that is without the code; of a reader, of a smaller version,
    whose parts may hold something else.
    """
    if spec.code and fingerprint == replace(spec, code="").fingerprint:
        return True
    return spec.kind == "reader" and any(
        fingerprint == replace(spec, version=version).fingerprint
        for version in range(1, spec.version)
    )


def from_items(
    reader: str,
    items: Sequence[sources.Item],
    *,
    options: Mapping[str, Any] | None = None,
    said: Mapping[str, Any] | None = None,
    levels: int | None = None,
) -> PartSpec:
    """Return the spec of a part that a reader makes of source items."""
    entry = readers.resolve(reader)
    return PartSpec(
        "reader",
        reader,
        entry.version,
        parameters.bind(entry.open, options or {}, f"reader {reader}"),
        tuple(item.to_dict() for item in items),
        said=dict(said or {}),
        levels=levels,
        code=entry.code,
    )


def lazy(
    objects: Objects, spec: PartSpec, laid: Callable[[], xr.Dataset] | None = None
) -> xr.Dataset:
    """Return the Dataset of a part, computing nothing.

    Parameters
    ----------
    objects : Objects
        The store that holds its inputs.
    spec : PartSpec
        Its spec.
    laid : callable, optional
        Returns what was laid out of it in the store; asked where opening anew takes long.

    Returns
    -------
    xarray.Dataset
        Lazy.

    Raises
    ------
    InputError
        A source item is damaged, is gone, or changed since it was listed.
    StoreError
        A user's reader or operator has other code here than where the part was planned.
    """
    if spec.kind == "reader":
        return read(spec, laid)
    return operate(spec, {role: _opened(objects, parts) for role, parts in spec.inputs.items()})


def read(spec: PartSpec, laid: Callable[[], xr.Dataset] | None = None) -> xr.Dataset:
    """Open the source items of a spec with its reader, or resume from the layout in the store."""
    reader = readers.resolve(spec.name)
    _check_code(spec, reader.code)
    if laid is not None and reader.resume is not None:  # ``finish`` checks what it was made of
        return reader.resume(laid(), _uris(spec), **spec.params)
    if reader.state is not None:
        uris = [uri for item in spec.items for uri in growing_folders.planned(reader, item)]
        return schema.revise(reader.open(uris, **spec.params), **spec.said)
    check_unchanged(spec)
    return schema.revise(reader.open(_uris(spec), **spec.params), **spec.said)


def _check_code(spec: PartSpec, code: str) -> None:
    """Refuse a reader or operator of a user's own that is another one than was planned with."""
    if spec.code and code != spec.code:
        raise StoreError(
            f"{spec.kind} {spec.name}: its code is not the one that the run was planned with; "
            "it was edited meanwhile, or other code is installed on a worker. Restart the "
            "workers, then run the same command again"
        )


def guess(spec: PartSpec) -> xr.Dataset:
    """Return a Dataset of about the size that `read` would give, where that takes long."""
    reader = readers.resolve(spec.name)
    if reader.guess is None:
        return read(spec)
    count = sum(item.get("count", 1) for item in spec.items)
    return schema.revise(reader.guess(_uris(spec), count, **spec.params), **spec.said)


def _uris(spec: PartSpec) -> list[str]:
    """Return the URIs that a reader opens: files, folders, or some files of a folder."""
    return [
        uri
        for item in spec.items
        for uri in [f"{item['uri']}/{name}" for name in item.get("names", ())] or [item["uri"]]
    ]


def operate(
    spec: PartSpec, inputs: Mapping[str, Mapping[str, xr.Dataset]], *, made: bool = True
) -> xr.Dataset:
    """Apply the operator of a spec to its inputs.

    Parameters
    ----------
    spec : PartSpec
        Of kind ``"operator"``.
    inputs : mapping
        By parameter, the Datasets by stem; those that may be left out need not be there. Those
        under ``where`` hold what its expression names and the first input lacks; inputs of the
        same records as the first one's are chosen with them.
    made : bool
        False if they are only planned: what their values decide is guessed, rather too large.

    Returns
    -------
    xarray.Dataset
        The result, lazy.
    """
    operator = operators.resolve(spec.name)
    data: dict[str, xr.Dataset | xr.DataTree] = {}
    params = dict(spec.params)
    where = None if parameters.has_where(operator.function) else params.pop("where", None)
    kinds = operators.inputs(operator)
    if where is not None and made:
        inputs = _chosen(inputs, kinds, where)
    for role, kind in kinds:
        parts = inputs.get(role)
        if parts is None:  # one that may be left out
            continue
        data[role] = (
            xr.DataTree.from_dict({f"/{stem}": ds for stem, ds in parts.items()})
            if kind == "tree"
            else next(iter(parts.values()))
        )
    _check_code(spec, operator.code)
    with compute.device(spec.device):
        function = operator.function if made else operator.guess or operator.function
        result = function(**data, **params)
    if not isinstance(result, xr.Dataset):
        raise UsageError(
            f"operator {spec.name}: returned {type(result).__name__}; expected an "
            "xarray.Dataset, for example xr.Dataset({'mean': array})"
        )
    return result


def _chosen(
    inputs: Mapping[str, Mapping[str, xr.Dataset]], kinds: Sequence[tuple[str, str]], where: str
) -> dict[str, dict[str, xr.Dataset]]:
    """Choose records of the first input, and of those that go with it part by part."""
    (first, kind), *others = kinds
    alike = [role for role, k in others if k == kind == "dataset" and role in inputs]
    selected = {role: dict(parts) for role, parts in inputs.items()}
    for stem, ds in inputs[first].items():
        whole = {first: ds} | {role: next(iter(inputs[role].values())) for role in alike}
        chosen = operators.select_alike(whole, where, inputs.get("where", {}).get(stem))
        selected[first][stem] = chosen.pop(first)
        selected |= {role: dict.fromkeys(inputs[role], ds) for role, ds in chosen.items()}
    return selected


def check_unchanged(spec: PartSpec) -> bool:
    """Refuse items whose size or ETag changed since the run was planned.

    Folders of many files may have got more. Those on disk need no look: a file that is another
    when it is read is put aside alone.

    Returns
    -------
    bool
        Whether any was written since then, though its size and time are as they were.

    Raises
    ------
    GoneError
        One is gone, or is another.
    """
    touched = False
    for item in spec.items:
        reader = readers.resolve(spec.name)
        if reader.state is not None:
            if not os.path.isdir(item["uri"]):
                growing_folders.planned(reader, item)
            continue
        now = _now(spec.name, item)
        if now is None:
            raise GoneError(f"{item['path']}: gone since the plan was made; is the disk mounted?")
        if (now.size, now.etag) != (item["size"], item["etag"]):
            raise GoneError(growing_folders.changed(item, now.size))
        touched |= now.stamp != item.get("stamp", "") != ""
    return touched


def note_rest(origin: PartSpec, notes: ledger.Ledger) -> None:
    """Note whole each source item of which nothing is noted, and each file but for its head.

    Earlier tasks opened them, and no reader said which regions it took.
    """
    uris = [item["uri"] for item in origin.items if not notes.knows(item["uri"])]
    for uri in [*uris, *notes.heads()]:
        if os.path.isdir(uri):
            continue
        # what is no file, as a folder in an archive, was read file by file or not at all
        with contextlib.suppress(InputError), sources.opened(uri) as file:
            if isinstance(file, str):
                with open(file, "rb") as local:
                    notes.digest(uri, local)
            else:
                notes.digest(uri, file)


def _now(reader: str, item: ItemFields) -> sources.Item | None:
    """Return an item as it is listed now; one that stands for a folder as its reader groups it."""
    try:
        listed = sources.list_items(item["uri"])
    except UsageError as error:
        cause = error.__cause__  # an archive that is there and cannot be listed
        if isinstance(cause, InputError) and not isinstance(cause, GoneError):
            raise cause from None
        return None
    if names := frozenset(item.get("names", ())):
        listed = [entry for entry in listed if entry.uri.rpartition("/")[2] in names]
    parts = readers.resolve(reader).find(listed)
    candidates = itertools.chain(listed, *(part.items for part in parts))
    return next((entry for entry in candidates if entry.uri == item["uri"]), None)


def _opened(objects: Objects, parts: Sequence[InputFields]) -> dict[str, xr.Dataset]:
    """Open the inputs of a part, each by the seal that its version names."""
    refs = [PartRef(p["stem"], p["fingerprint"], p["base"], p.get("seal", "")) for p in parts]
    sealed = seals.named(objects, refs)
    return {
        ref.stem: opening.open_sealed(objects, seal) for ref, seal in zip(refs, sealed, strict=True)
    }
