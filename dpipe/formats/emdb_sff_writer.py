"""EMDB-SFF as it is written: nested mappings as XML, JSON or HDF5.

The three forms are written here rather than with sfftk-rw, whose XML leaves out ``parent_id``,
which the schema requires, and whose JSON and HDF5 lose the transform of a mesh.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import h5py
import numpy as np

VERSION = "0.8.0.dev1"
_ITEMS = {
    "software_list": "software",
    "transform_list": "transformation_matrix",
    "segment_list": "segment",
    "mesh_list": "mesh",
}
"""What an entry of a list is called in XML."""


def encoded(what: str, triples: np.ndarray) -> dict[str, str | int]:
    """Return triples of numbers as the format keeps them: base64 of little-endian bytes."""
    return {
        f"num_{what}": len(triples),
        "mode": triples.dtype.name,
        "endianness": "little",
        "data": base64.b64encode(triples.tobytes()).decode("ascii"),
    }


def _write_json(document: Mapping[str, Any], path: Path) -> None:
    # sfftk-rw looks for lists that the schema leaves out where they are empty
    full = dict(document) | {"global_external_references": [], "lattice_list": []}
    path.write_text(json.dumps(full, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_xml(document: Mapping[str, Any], path: Path) -> None:
    root = _element("segmentation", document)
    Xml.indent(root)
    with path.open("wb") as file:
        Xml.ElementTree(root).write(file, encoding="utf-8", xml_declaration=True)


def _element(tag: str, members: Mapping[str, Any]) -> Xml.Element:
    element = Xml.Element(tag)
    for key, value in members.items():
        if key in ("id", "parent_id") or tag in ("vertices", "triangles"):
            element.set(key, str(value))
        elif isinstance(value, Mapping):
            element.append(_element(key, value))
        elif key == "colour":
            channels = dict(zip(("red", "green", "blue", "alpha"), value, strict=True))
            element.append(_element(key, channels))
        elif isinstance(value, list):
            child = Xml.SubElement(element, key)
            child.extend(_element(_ITEMS[key], item) for item in value)
        else:
            Xml.SubElement(element, key).text = str(value)
    return element


def _write_hdf5(document: Mapping[str, Any], path: Path) -> None:
    with h5py.File(path, "w") as file:
        _fill(file, document)


def _fill(group: h5py.Group, members: Mapping[str, Any]) -> None:
    for key, value in members.items():
        if isinstance(value, Mapping):
            _fill(group.create_group(key), value)
        elif isinstance(value, list) and key != "colour":
            _fill(group.create_group(key), {str(item["id"]): item for item in value})
        else:
            group[key] = value


FORMS = {"sff": _write_xml, "hff": _write_hdf5, "json": _write_json}
"""What writes a document into a new file, by the suffix of its form."""
