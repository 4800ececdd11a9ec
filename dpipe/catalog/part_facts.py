"""The facts of parts, told from their seals: no Dataset is opened, nothing else is read."""

import base64
from collections.abc import Mapping

from dpipe.catalog.seals import Seal, named
from dpipe.catalog.version_files import Version
from dpipe.metadata import ArrayHeader, CollectionFacts, Header, ImageFacts, facts_of
from dpipe.storage import Objects, coordinates

Facts = ImageFacts | CollectionFacts


def part_facts(objects: Objects, version: Version) -> dict[str, Facts] | None:
    """Return facts on the movies or collections of pictures of a version, by stem.

    Parameters
    ----------
    objects : Objects
        The store.
    version : Version
        Which.

    Returns
    -------
    dict or None
        Empty if it holds neither; None if seals alone cannot tell: a coordinate is too large to
        stand in them.
    """
    kinds = {"image", "pixels"}
    if not any(kinds & set(ref.summary.get("variables", [])) for ref in version.parts):
        return {}
    facts: dict[str, Facts] = {}
    for seal in named(objects, version.parts):
        header = header_of(seal, objects.url)
        if header is None:
            return None
        if (told := facts_of(header)) is not None:
            facts[seal.stem] = told
    return facts


def header_of(seal: Seal, url: str) -> Header | None:
    """Return what a part says of itself; None if a coordinate does not stand in its seal."""
    prefix = f"{seal.levels[0]}/" if seal.levels else ""
    inline: dict[str, dict[str, bytes]] = {}
    for key, text in seal.inline.items():
        if key.startswith(prefix):
            name, _, inner = key.removeprefix(prefix).partition("/")
            inline.setdefault(name, {})[inner] = base64.b64decode(text)
    documents = {
        key.removeprefix(prefix).partition("/")[0]: document
        for key, document in seal.documents.items()
        if key.startswith(prefix) and document["node_type"] == "array"
    }
    names = {
        name
        for document in documents.values()
        for name in str(document.get("attributes", {}).get("coordinates", "")).split()
    }
    arrays: dict[str, ArrayHeader] = {}
    for name, document in documents.items():
        dims = tuple(document.get("dimension_names") or ())
        values = None
        if name in names or name in {dim for d in documents.values() for dim in _dims(d)}:
            values = coordinates.decode(document, inline.get(name, {}), f"{url}/{seal.path}/{name}")
            if values is None:
                return None
        kind = "<U0" if document["data_type"] == "string" else str(document["data_type"])
        attrs = document.get("attributes", {})
        arrays[name] = ArrayHeader(dims, tuple(document["shape"]), kind, attrs, values)
    return Header(arrays, seal.documents[f"{prefix}zarr.json"].get("attributes", {}))


def _dims(document: Mapping[str, object]) -> tuple[str, ...]:
    dims = document.get("dimension_names")
    return tuple(map(str, dims)) if isinstance(dims, list) else ()
