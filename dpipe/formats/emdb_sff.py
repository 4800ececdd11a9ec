"""EMDB-SFF, the segmentation format of the EM databank: its three forms, and the meshes in it.

XML (.sff), JSON (.json) and HDF5 (.hff) hold the same tree of names; here each becomes nested
mappings, those of HDF5 read when looked at. What a name ending in ``_list`` holds is a list.
Numbers are text: base64 of little- or big-endian triples, whose kind stands beside them.

Knows nothing of tables. Nothing here follows links out of an HDF5 file, and what numbers need is
measured before they are decoded.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from xml.etree import ElementTree as Xml

import h5py
import numpy as np

from dpipe.errors import DpipeError, InputError, StoreError
from dpipe.formats.spreadsheets import Unfit, as_text, read_bytes
from dpipe.formats.spreadsheets import whole as number_of
from dpipe.sources import opened

ANGSTROMS = 1e4
"""In a micrometre; the format keeps lengths in angstroms."""
_LIST = "_list"
_MODES = {f"int{8 * n}": f"i{n}" for n in (1, 2, 4, 8)}
_MODES |= {f"uint{8 * n}": f"u{n}" for n in (1, 2, 4, 8)} | {"float32": "f4", "float64": "f8"}
_ORDERS = {"little": "<", "big": ">"}
_LARGEST_VALUE = 1 << 31
_MOST = 1 << 31
_READ_ERRORS = (OSError, RuntimeError, ValueError, TypeError, OverflowError)

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Mesh:
    """One mesh: its segment, how large it is, and where its numbers are."""

    segment: Node
    node: Node
    vertices: int
    faces: int


@contextmanager
def open_document(uri: str) -> Iterator[Node]:
    """Open a file; inside the ``with``, what is wrong with it becomes one line."""
    name = uri.rstrip("/").rpartition("/")[2]
    try:
        with opened(uri) as file:
            if _begins(file).startswith(b"\x89HDF"):
                with h5py.File(file, "r") as h5:
                    yield _checked(_Group(h5))
            else:
                yield _checked(_text_form(read_bytes(uri)))
    except Unfit as flaw:
        raise InputError(f"{name}: {flaw}") from None
    except DpipeError:
        raise
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"{name}: no such file") from None
    except _READ_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        # HDF5's own complaints are bare OSErrors without errno; all others come from below it
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise StoreError(f"{name}: cannot be read: {reason}") from error
        raise InputError(f"{name}: damaged: {reason}; fetch or export it again") from error


def _begins(file: str | BinaryIO) -> bytes:
    if isinstance(file, str):
        with open(file, "rb") as local:
            return local.read(8)
    start = file.read(8)
    file.seek(0)
    return start


def _checked(document: Node) -> Node:
    version = text(document, "version")
    if not version.startswith("0.8"):
        actual = f"version {version!r}" if version else "no version"
        raise Unfit(f"found {actual}; expected EMDB-SFF 0.8 (sfftk converts older files)")
    return document


def _text_form(data: bytes) -> Node:
    """Read XML or JSON."""
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        try:
            document = json.loads(as_text(data))
        except (ValueError, RecursionError) as error:
            raise Unfit(f"neither HDF5 nor XML nor JSON ({error})") from error
        if not isinstance(document, dict):
            raise Unfit("JSON, but not EMDB-SFF: expected an object with 'version'")
        return document
    try:
        root = Xml.fromstring(data)  # noqa: S314  expat bounds what entities may grow to
    except (Xml.ParseError, ValueError, LookupError) as error:
        raise Unfit(f"not XML ({error})") from error
    if root.tag != "segmentation":
        raise Unfit(f"XML, but not EMDB-SFF: found <{root.tag}>, expected <segmentation>")
    return _mapping(root)


def _mapping(element: Xml.Element) -> Node:
    """Turn an element into the mapping that the JSON form has in its place."""
    members = dict[str, object](element.attrib)
    for child in element:
        if child.tag.endswith(_LIST):
            members[child.tag] = [_mapping(item) for item in child]
        elif child.tag == "colour":
            channels = {item.tag: item.text for item in child}
            members["colour"] = [channels.get(name) for name in ("red", "green", "blue")]
        elif len(child) or child.attrib:
            members[child.tag] = _mapping(child)
        else:
            members[child.tag] = child.text
    return members


class _Group(Mapping[str, Any]):
    """A group of HDF5 as a mapping; members are read when looked at."""

    def __init__(self, group: h5py.Group) -> None:
        self._group = group

    def __getitem__(self, key: str) -> Any:
        group, where = self._group, f"{self._group.name}/{key}".lstrip("/")
        if not group.id.links.exists(key.encode()):
            raise KeyError(key)
        if group.id.links.get_info(key.encode()).type != h5py.h5l.TYPE_HARD:
            raise Unfit(f"{where} is a link to another place, which is not followed")
        member = group[key]
        if not isinstance(member, h5py.Group):
            return _value(member, where)
        members = _Group(member)
        if not key.endswith(_LIST):
            return members
        numbered = sorted(member, key=lambda name: (not name.isdigit(), name.zfill(20)))
        return [members[name] for name in numbered]

    def __iter__(self) -> Iterator[str]:
        return iter(self._group)

    def __len__(self) -> int:
        return len(self._group)


def _value(dataset: Any, where: str) -> Any:
    if not isinstance(dataset, h5py.Dataset):
        raise Unfit(f"{where} is a {type(dataset).__name__.lower()}; expected a value")
    layout = dataset.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        raise Unfit(f"{where} keeps its values in other files, which is refused")
    if dataset.size * dataset.dtype.itemsize > _LARGEST_VALUE:
        raise Unfit(f"{where} holds {dataset.size} values; expected one")
    value = dataset[()]
    return value.decode("utf-8") if isinstance(value, bytes) else np.asarray(value).tolist()


# --- what stands in a document ------------------------------------------------------------------


def text(node: Node, key: str) -> str:
    """Return a member as text, "" where there is none."""
    value = node.get(key)
    return "" if value is None or isinstance(value, Mapping | list) else str(value).strip()


def branch(node: Node, key: str) -> Node:
    """Return a member that holds others, an empty one where there is none."""
    value = node.get(key)
    return value if isinstance(value, Mapping) else {}


def listed(node: Node, key: str) -> list[Node]:
    """Return the members of a list."""
    value = node.get(key)
    items = value if isinstance(value, list) else []
    if not all(isinstance(item, Mapping) for item in items):
        raise Unfit(f"{key} holds what is no object; export it again")
    return items


def whole(node: Node, key: str, default: int | None = None) -> int:
    """Return a member as a whole number of at most 18 digits."""
    digits = text(node, key)
    value = default if default is not None and not digits else number_of(digits)
    if value is None:
        raise Unfit(f"{key} is {digits[:40]!r}; expected a whole number")
    return value


def meshes(document: Node) -> Iterator[Mesh]:
    """Yield the meshes of a document in order, no numbers read."""
    for segment in listed(document, f"segment{_LIST}"):
        for node in listed(segment, f"mesh{_LIST}"):
            counts = [
                whole(branch(node, part), f"num_{part}") for part in ("vertices", "triangles")
            ]
            if not 0 <= min(counts) <= max(counts) < _MOST:
                raise Unfit(f"a mesh of {counts[0]} vertices and {counts[1]} triangles")
            yield Mesh(segment, node, counts[0], counts[1])


def faces(mesh: Mesh) -> np.ndarray:
    """Decode the triangles of a mesh: int64, shape (n, 3)."""
    numbers = _numbers(branch(mesh.node, "triangles"), mesh.faces, "triangles", "uint32")
    if numbers.dtype.kind == "f":
        raise Unfit(f"triangles are {numbers.dtype.name}; expected whole numbers")
    return numbers.astype(np.int64)


def vertices(mesh: Mesh, transforms: Mapping[int, np.ndarray]) -> np.ndarray:
    """Decode the vertices of a mesh and place them: float64, (n, 3), x, y, z in micrometres."""
    numbers = _numbers(branch(mesh.node, "vertices"), mesh.vertices, "vertices", "float32")
    number = whole(mesh.node, "transform_id", next(iter(transforms)))
    if number not in transforms:
        raise Unfit(f"a mesh names transform {number}; found {', '.join(map(str, transforms))}")
    matrix = transforms[number]
    turn, shift = matrix[:, :3], matrix[:, 3]
    raw = numbers.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.array_equal(turn, np.diag(np.diag(turn))):  # exact; what is no number stays alone
            placed = raw * np.diag(turn) + shift
        else:
            placed = raw @ turn.T + shift
    if np.isfinite(raw).all() and not np.isfinite(placed).all():
        raise Unfit(f"transform {number} puts vertices beyond what a number holds; export it again")
    return placed


def transforms(document: Node) -> dict[int, np.ndarray]:
    """Return the transforms by number, (3, 4) each, into micrometres; the first is the image's.

    Without any, which the standard forbids, places are taken for angstroms.
    """
    matrices = {}
    for i, node in enumerate(listed(document, f"transform{_LIST}")):
        try:
            matrix = np.array([float(word) for word in text(node, "data").split()])
            matrix = matrix.reshape(whole(node, "rows"), whole(node, "cols"))
        except (ValueError, OverflowError):
            matrix = np.zeros((0, 0))
        named = f"transform {i} is {text(node, 'data')[:60]!r}"
        if matrix.shape not in ((3, 4), (4, 4)) or not np.isfinite(matrix).all():
            raise Unfit(f"{named}; expected 3 rows of 4")
        if len(matrix) == 4 and matrix[3].tolist() != [0, 0, 0, 1]:
            raise Unfit(f"{named}; expected 0 0 0 1 at last, for no perspective")
        if np.linalg.slogdet(matrix[:3, :3])[0] == 0:
            raise Unfit(f"{named}, which leaves no volume; export it again")
        matrices[whole(node, "id", i)] = matrix[:3] / ANGSTROMS
    return matrices or {0: np.eye(3, 4) / ANGSTROMS}


def _numbers(node: Node, count: int, what: str, usual: str) -> np.ndarray:
    mode, order = text(node, "mode") or usual, text(node, "endianness") or "little"
    if mode not in _MODES or order not in _ORDERS:
        raise Unfit(f"{what} are {mode}, {order}-endian, which the format does not know")
    dtype = np.dtype(_ORDERS[order] + _MODES[mode])
    try:
        raw = base64.b64decode("".join(text(node, "data").split()), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit(f"{what} are not base64; export it again") from None
    if len(raw) != count * 3 * dtype.itemsize:
        count_found = len(raw) / 3 / dtype.itemsize
        raise Unfit(f"damaged: {count} {what} promised, {count_found:g} found; export it again")
    return np.frombuffer(raw, dtype).reshape(-1, 3)
