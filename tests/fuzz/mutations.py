"""Ways to spoil a seed: each knows the structure of its format, and is told by one integer."""

import io
import json
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import h5py
import numpy as np

Files = dict[str, bytes | None]
"""Bytes by path; None is a link to the place that `LINKS` holds for it."""
Random = random.Random

NOWHERE, ENDLESS = b"\0link:/nowhere/at/all", b"\0link:/dev/zero"
"""Contents that stand for links."""
NUMBERS = (
    "0", "-1", "1e308", "-1e308", "1e-320", "NaN", "nan", "Infinity", "-inf", str(2**31), "inf",
    str(2**63), str(-(2**63)), str(2**64 - 1), "7" * 400, "0.5", "1e300", "", " ", "x", "null",
    "true", "\u0663", "1_000", "0x10", "1,5", "--1", "[]", "{}", '"1"', "50000000000",
)  # fmt: skip
WORDS = ("", "\0", "\n", "\ud7ff", "a" * 70_000, "../..", "/dev/zero", "%s", "<a>", "&x;", "'\"")
WHOLE = (0, 1, 2, -1, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, -(2**31), 2**32 - 1, 2**40,
         2**63 - 1, -(2**63), 2**64 - 1)  # fmt: skip
NESTED = 100_000


def mutate(files: dict[str, bytes], number: int) -> dict[str, bytes]:
    """Return the files with one thing, at times two, spoiled in a way that the number tells."""
    rng = Random(number)
    spoiled = dict(files)
    for _ in range(1 if rng.random() < 0.7 else 2):
        name = rng.choice(sorted(spoiled)) if spoiled else ""
        if not name:
            break
        ways = [*ANY, *_ways(name, spoiled[name]) * 4]
        way = rng.choice(ways)
        if way in FOLDER:
            way(spoiled, name, rng)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spoiled[name] = way(spoiled[name], rng)
    return spoiled


def _ways(name: str, data: bytes) -> list[Callable[..., Any]]:
    if data.startswith(b"\x89HDF"):
        return HDF5
    if data[:2] in (b"II", b"MM"):
        return TIFF
    if data.startswith(b"PK"):
        return ZIP
    if name.endswith(("json", ".zattrs", ".zarray", ".zgroup")):
        return JSON
    if name.endswith((".xml", ".sff")):
        return XML
    if name.endswith((".csv", ".tsv", ".txt", ".mdf")):
        return TABLE
    return BYTES  # a chunk


# --- bytes ------------------------------------------------------------------------------------


def flip(data: bytes, rng: Random) -> bytes:
    held = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if held else 0):
        held[rng.randrange(len(held))] ^= 1 << rng.randrange(8)
    return bytes(held)


def flip_early(data: bytes, rng: Random) -> bytes:
    return flip(data[:200], rng) + data[200:]


def number_in(data: bytes, rng: Random) -> bytes:
    """Put a number that is a bound in place of 1, 2, 4 or 8 bytes."""
    size = rng.choice((1, 2, 4, 8))
    if len(data) < size:
        return data
    at = rng.randrange(len(data) - size + 1)
    value = (rng.choice(WHOLE) % 2 ** (8 * size)).to_bytes(size, rng.choice(("little", "big")))
    return data[:at] + value + data[at + size :]


def cut(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def drop(data: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 7, 64)) :]


def double(data: bytes, rng: Random) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((1, 16, 300))
    return data[: at + size] + data[at : at + size] + data[at + size :]


def zeros(data: bytes, rng: Random) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((8, 64, 512))
    return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]


def empty(data: bytes, rng: Random) -> bytes:
    return rng.choice((b"", b"", b"\n", b"\0" * 4096, b"rubbish " * 100))


def nowhere(data: bytes, rng: Random) -> bytes:
    return NOWHERE


def endless(data: bytes, rng: Random) -> bytes:
    return ENDLESS


BYTES = [flip, flip_early, number_in, cut, drop, double, zeros]


# --- the folder -------------------------------------------------------------------------------


def lose(files: dict[str, bytes], name: str, rng: Random) -> None:
    if len(files) > 1:
        del files[name]


def swap(files: dict[str, bytes], name: str, rng: Random) -> None:
    other = rng.choice(sorted(files))
    files[name], files[other] = files[other], files[name]


FOLDER = [lose, swap]
ANY = [flip, cut, empty, nowhere, endless, lose, swap]


# --- TIFF -------------------------------------------------------------------------------------


class Tiff:
    """Where the fields of a TIFF's structure lie."""

    def __init__(self, data: bytes) -> None:
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = struct.unpack_from(self.order + "H", data, 2)[0] == 43
        self.entry, self.count, self.word = (20, "Q", "Q") if self.big else (12, "H", "I")
        self.links = [8 if self.big else 4]  # where the offset of each page stands
        self.pages: list[int] = []
        self.tags: list[int] = []
        while len(self.pages) < 50:
            at = self.get(data, self.links[-1], self.word)
            if not 0 < at < len(data) - 8 or at in self.pages:
                return
            n = self.get(data, at, self.count)
            first = at + struct.calcsize(self.count)
            self.pages.append(at)
            self.tags += [first + k * self.entry for k in range(n)]
            self.links.append(first + n * self.entry)

    def get(self, data: bytes, at: int, kind: str) -> int:
        kind = self.order + kind
        return (
            struct.unpack_from(kind, data, at)[0] if at + struct.calcsize(kind) <= len(data) else 0
        )

    def put(self, data: bytes, at: int, kind: str, value: int) -> bytes:
        size = struct.calcsize(self.order + kind)
        value = (value % 2 ** (8 * size)).to_bytes(size, "little" if self.order == "<" else "big")
        return data[:at] + value + data[at + size :]


def tiff_link(data: bytes, rng: Random) -> bytes:
    """A page chain that returns to a page, ends, or leads out of the file."""
    tiff = Tiff(data)
    target = rng.choice([*tiff.pages, 0, len(data), len(data) - 4, 2**32 - 1, 8])
    return tiff.put(data, rng.choice(tiff.links), tiff.word, target)


def tiff_tag(data: bytes, rng: Random) -> bytes:
    """A code, type, count or value of a tag."""
    tiff = Tiff(data)
    if not tiff.tags:
        return data
    tag = rng.choice(tiff.tags)
    place = rng.randrange(4)
    if place == 0:
        codes = (256, 257, 258, 259, 262, 270, 273, 277, 278, 279, 284, 305, 317, 322, 323, 324,
                 325, 330, 338, 339, 50838, 50839, 34412, 51123, 34361, 33628)  # fmt: skip
        return tiff.put(data, tag, "H", rng.choice(codes))
    if place == 1:
        return tiff.put(data, tag + 2, "H", rng.choice([*range(19), 65535]))
    if place == 2:
        value = rng.choice((0, 1, 2, 7, 2**16, 2**31 - 1, 2**32 - 1, 2**40))
        return tiff.put(data, tag + 4, tiff.word, value)
    at = tag + 4 + struct.calcsize(tiff.word)
    known = tiff.get(data, at, tiff.word)
    value = rng.choice(
        (*WHOLE, known + 1, known - 1, known * 2, 3, 4, 5, 7, 8, 64, 32773, len(data))
    )
    return tiff.put(data, at, tiff.word, value)


def tiff_size(data: bytes, rng: Random) -> bytes:
    """Width, height, rows a strip, tiles, counts of bytes, bits, samples, compression."""
    tiff = Tiff(data)
    codes = (256, 257, 258, 259, 277, 278, 279, 273, 322, 323, 339, 317)
    fitting = [tag for tag in tiff.tags if tiff.get(data, tag, "H") in codes]
    if not fitting:
        return data
    at = rng.choice(fitting) + 4 + struct.calcsize(tiff.word)
    value = rng.choice((*WHOLE, 3, 5, 7, 8, 12, 24, 33, 64, 1000, 30_000, 32773, 50000, 34925))
    return tiff.put(data, at, rng.choice(("H", tiff.word)), value)


def tiff_double(data: bytes, rng: Random) -> bytes:
    """A tag twice, in place of the next one."""
    tiff = Tiff(data)
    if len(tiff.tags) < 2:
        return data
    k = rng.randrange(len(tiff.tags) - 1)
    one, other = tiff.tags[k], tiff.tags[k + 1]
    return data[:other] + data[one : one + tiff.entry] + data[other + tiff.entry :]


def tiff_text(data: bytes, rng: Random) -> bytes:
    """What the description says: a number or a word in it, of the same length."""
    texts = list(re.finditer(rb"[ -~\n\r\t]{24,}", data))
    if not texts:
        return data
    match = rng.choice(texts)
    new = rng.choice((numbers_in, words_in, letters_in))(match[0], rng)
    return data[: match.start()] + new[: len(match[0])].ljust(len(match[0])) + data[match.end() :]


def numbers_in(data: bytes, rng: Random) -> bytes:
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(NUMBERS).encode() + data[one.end() :]


def words_in(data: bytes, rng: Random) -> bytes:
    found = list(re.finditer(rb"[A-Za-z]{2,}", data))
    if not found:
        return data
    one, other = rng.choice(found), rng.choice(found)
    new = rng.choice((other[0], rng.choice(WORDS).encode(), b"um", b"mm", b"pixel", b"Inf"))
    return data[: one.start()] + new + data[one.end() :]


def letters_in(data: bytes, rng: Random) -> bytes:
    """Some characters that structure a text."""
    found = list(re.finditer(rb"[\"'<>=/{}\[\],:;&\n\t]", data))
    if not found:
        return data
    one = rng.choice(found)
    return (
        data[: one.start()]
        + rng.choice((b"", b'"', b"<", b">", b",", b"\0", b"\n"))
        + data[one.end() :]
    )


TIFF = [
    tiff_link,
    tiff_tag,
    tiff_size,
    tiff_size,
    tiff_double,
    tiff_text,
    tiff_text,
    number_in,
    flip,
]


# --- HDF5 -------------------------------------------------------------------------------------


def _edited(data: bytes, change: Callable[[h5py.File], object]) -> bytes:
    stream = io.BytesIO(data)
    try:
        with h5py.File(stream, "r+") as file:
            change(file)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return data  # damaged already, or nothing that HDF5 can hold
    return stream.getvalue()


def _nodes(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return sorted(found)


def hdf5_attribute(data: bytes, rng: Random) -> bytes:
    def change(file: h5py.File) -> None:
        held = [(p, key) for p in ["/", *_nodes(file)] for key in sorted(file[p].attrs)]
        if not held:
            return
        path, key = rng.choice(held)
        attributes = file[path].attrs
        text = rng.choice((*NUMBERS, *WORDS[:4], "2 3", "1.0 2.0"))
        values = [
            np.frombuffer(text.encode() or b" ", "S1"), np.bytes_(text[:99].encode() or b" "),
            rng.choice((np.nan, np.inf, -1, 0, 2**63, 1e308)), np.zeros((0,), "S1"),
            h5py.Empty("S1"), np.zeros((2, 2)), "text", None,
        ]  # fmt: skip
        value = values[rng.choice((0, 0, 0, *range(len(values))))]
        del attributes[key]
        if value is not None:
            attributes[key] = value

    return _edited(data, change)


def hdf5_drop(data: bytes, rng: Random) -> bytes:
    def change(file: h5py.File) -> None:
        if nodes := _nodes(file):
            del file[rng.choice(nodes)]

    return _edited(data, change)


def hdf5_link(data: bytes, rng: Random) -> bytes:
    """A node that is a link: to another node, above itself, nowhere, another file."""

    def change(file: h5py.File) -> None:
        nodes = _nodes(file)
        if not nodes:
            return
        path = rng.choice(nodes)
        other = rng.choice(["/", "/nowhere", path.rpartition("/")[0] or "/", *nodes])
        del file[path]
        links = (h5py.SoftLink(other), h5py.ExternalLink("nowhere.h5", other),
                 h5py.ExternalLink("/dev/zero", other))  # fmt: skip
        file[path] = rng.choice((links[0], links[0], *links))

    return _edited(data, change)


def hdf5_dataset(data: bytes, rng: Random) -> bytes:
    """A dataset of another dtype, shape, layout or content."""

    def change(file: h5py.File) -> None:
        sets = [p for p in _nodes(file) if isinstance(file[p], h5py.Dataset)]
        if not sets:
            return
        path = rng.choice(sets)
        values = file[path][...]
        del file[path]
        _put(file, path, values, rng)

    return _edited(data, change)


def _put(file: h5py.File, path: str, values: np.ndarray, rng: Random) -> None:
    if values.dtype.names and rng.random() < 0.6:
        file[path] = _records(values, rng)
        return
    way = rng.randrange(9)
    if way == 0:
        file[path] = np.zeros((0, *values.shape[1:]), values.dtype)
    elif way == 1:
        file[path] = values[tuple(slice(max(0, n - 1)) for n in values.shape)]
    elif way == 2:
        file[path] = values[None]
    elif way == 3:
        file.create_dataset(path, tuple([2**40] * max(1, values.ndim))[:3], "u1", chunks=True)
    elif way == 4:
        file.create_group(path)
    elif way == 5:
        file[path] = h5py.Empty(values.dtype)
    elif way == 6:
        file[path] = np.bytes_(b"text")
    elif way == 7:
        kinds = ("f8", "f4", "i1", "u8", ">u2", "c8", "?", "f2", "S4", "i8")
        kind = rng.choice(kinds)
        file[path] = values.astype(kind) if not values.dtype.names else np.zeros(values.shape, kind)
    elif not values.dtype.names and values.size:
        values = values.astype(rng.choice(("f8", values.dtype)))
        worst = rng.choice((np.nan, np.inf, 1e308, -1)) if values.dtype.kind == "f" else None
        whole = values.dtype.kind in "iu"
        bound = rng.choice((np.iinfo(values.dtype).max, np.iinfo(values.dtype).min)) if whole else 0
        values.flat[rng.randrange(values.size)] = bound if worst is None else worst
        file[path] = values
    else:
        file[path] = values.reshape(-1)[::-1]


def _records(values: np.ndarray, rng: Random) -> np.ndarray:
    """A table with a field lost, renamed, of another dtype, or with a number at a bound."""
    names, name = list(values.dtype.names or ()), rng.choice(list(values.dtype.names or ()))
    way = rng.randrange(5)
    if way == 0 and len(names) > 1:
        return values[[n for n in names if n != name]].copy()
    if way == 1:
        kinds = [(n + "2" * (n == name), values.dtype[n]) for n in names]
        return values.astype(kinds)
    if way == 2:
        kind = rng.choice(("f8", "S4", "u1", "i8", "u8", ">i4"))
        made = np.zeros(values.shape, [(n, kind if n == name else values.dtype[n]) for n in names])
        for n in names:
            made[n] = 0 if n == name else values[n]
        return made
    if values.size:
        column, at = values[name].reshape(-1), rng.randrange(values.size)
        kind = column.dtype
        if kind.kind in "iu":
            near = (-1, 0, 1, 2**31, np.iinfo(kind).max, np.iinfo(kind).min)
            column[at] = rng.choice(
                [v for v in near if np.iinfo(kind).min <= v <= np.iinfo(kind).max]
            )
        elif kind.kind == "f":
            column[at] = rng.choice((np.nan, np.inf, -np.inf, 3e38, 0))
        values[name] = column.reshape(values.shape)
        return values
    return np.concatenate([values, values])


def hdf5_structure(data: bytes, rng: Random) -> bytes:
    """A byte behind one of the marks of HDF5's own structures."""
    marks = (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"\x89HDF", b"\x11\0",
             b"\1\0\x08\0", b"\3\0\x08\0", b"\x08\0\x18\0")  # fmt: skip
    places = [m.start() for m in re.finditer(b"|".join(map(re.escape, marks)), data)]
    if not places:
        return data
    at = rng.choice(places)
    return data[:at] + rng.choice((flip, number_in))(data[at : at + 48], rng) + data[at + 48 :]


HDF5 = [hdf5_attribute, hdf5_attribute, hdf5_drop, hdf5_link, hdf5_dataset, hdf5_dataset,
        hdf5_structure, hdf5_structure, number_in]  # fmt: skip


# --- JSON -------------------------------------------------------------------------------------


def json_value(data: bytes, rng: Random) -> bytes:
    """One value in the document becomes another, is lost, or is there twice."""
    try:
        held = json.loads(data)
    except (ValueError, RecursionError):
        return flip(data, rng)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if not isinstance(held, dict | list):
        return data
    walk(held)
    if not places:
        return rng.choice((b"[]", b"null", b"1"))
    node, key = rng.choice(places)
    way = rng.randrange(8)
    if way == 0:
        del node[key]
    elif way == 1 and isinstance(node, list):
        node.append(node[key])
    elif way == 2:
        node[key] = [node[key]]
    elif way == 3:
        node[key] = {"a": node[key]}
    else:
        node[key] = "@"
    new = rng.choice(
        (*NUMBERS, *map(json.dumps, WORDS), "[1, 2]", "-1", "1.5", "[null]", '"bytes"')
    )
    return json.dumps(held).replace('"@"', new, 1).encode("utf-8", "surrogatepass")


def json_nested(data: bytes, rng: Random) -> bytes:
    opened, closed = rng.choice((("[", "]"), ('{"a":', "}")))
    deep = opened * NESTED + rng.choice(("", "1" + closed * NESTED))
    return rng.choice((deep.encode(), data[:-1] + b', "x": ' + deep.encode() + data[-1:]))


def json_double(data: bytes, rng: Random) -> bytes:
    """A key twice."""
    found = list(re.finditer(rb'"\w+": ?("\w*"|[\d.]+)', data))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.end()] + b", " + numbers_in(one[0], rng) + data[one.end() :]


JSON = [json_value] * 6 + [json_nested, json_double, numbers_in, words_in, letters_in]


# --- XML --------------------------------------------------------------------------------------


def xml_element(data: bytes, rng: Random) -> bytes:
    """An element is lost, doubled or renamed."""
    found = list(re.finditer(rb"<(\w+)[^<>]*?(/>|>[^<>]*</\1>)", data))
    if not found:
        return flip(data, rng)
    one = rng.choice(found)
    new = rng.choice((b"", one[0] * 2, one[0].replace(one[1], b"Other"), b"<a/>" + one[0]))
    return data[: one.start()] + new + data[one.end() :]


def xml_attribute(data: bytes, rng: Random) -> bytes:
    found = list(re.finditer(rb' (\w+)="([^"]*)"', data))
    if not found:
        return flip(data, rng)
    one = rng.choice(found)
    value = rng.choice((*NUMBERS, *WORDS)).encode("utf-8", "surrogatepass").replace(b"<", b"&lt;")
    new = rng.choice((b' %s="%s"' % (one[1], value),) * 5 + (b"", one[0] * 2))
    return data[: one.start()] + new + data[one.end() :]


def xml_text(data: bytes, rng: Random) -> bytes:
    found = list(re.finditer(rb">([^<>]+)<", data))
    if not found:
        return xml_attribute(data, rng)
    one = rng.choice(found)
    return data[: one.start(1)] + rng.choice(NUMBERS).encode() + data[one.end(1) :]


def xml_nested(data: bytes, rng: Random) -> bytes:
    at = data.rfind(b"</")
    deep = rng.choice((b"<a>" * NESTED, b"<a>" * NESTED + b"</a>" * NESTED))
    return rng.choice((deep, data[:at] + deep + data[at:]))


def xml_entities(data: bytes, rng: Random) -> bytes:
    names = [f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)]
    head = f'<!DOCTYPE x [<!ENTITY a0 "{"7" * 50}">{"".join(names)}]>'
    start = data.find(b"?>") + 2 if data.startswith(b"<?xml") else 0
    return data[:start] + head.encode() + data[start:].replace(b'="', b'="&a11;', 1)


XML = [xml_element, xml_attribute, xml_attribute, xml_attribute, xml_text, xml_nested,
       xml_entities, numbers_in, words_in, letters_in]  # fmt: skip


# --- tables -----------------------------------------------------------------------------------


def table_cell(data: bytes, rng: Random) -> bytes:
    lines = data.split(b"\n")
    k = rng.randrange(len(lines))
    sep = max((b",", b"\t", b" "), key=lines[k].count)
    cells = lines[k].split(sep)
    new = rng.choice((*NUMBERS, *WORDS)).encode("utf-8", "surrogatepass")
    cells[rng.randrange(len(cells))] = new
    lines[k] = sep.join(cells)
    return b"\n".join(lines)


def table_column(data: bytes, rng: Random) -> bytes:
    """A column is lost, doubled, or renamed as another."""
    lines = data.split(b"\n")
    sep = max((b",", b"\t", b" "), key=data.count)
    at, way = rng.randrange(max(map(len, (line.split(sep) for line in lines)))), rng.randrange(3)
    for k, line in enumerate(lines):
        cells = line.split(sep)
        if at < len(cells) and len(cells) > 1:
            if way == 0:
                del cells[at]
            elif way == 1:
                cells.insert(at, cells[at])
            elif k == 0:
                cells[at] = cells[at - 1]
        lines[k] = sep.join(cells)
    return b"\n".join(lines)


def table_line(data: bytes, rng: Random) -> bytes:
    lines = data.split(b"\n")
    k, way = rng.randrange(len(lines)), rng.randrange(4)
    if way == 0:
        del lines[k]
    elif way == 1:
        lines.insert(k, lines[k])
    elif way == 2:
        lines.insert(k, rng.choice((b"", b",,,", b'"', b"#", b"x" * 200_000)))
    else:
        lines[k] = lines[k] + rng.choice((b",", b'"', b",1,2,3", b"\t"))
    return b"\n".join(lines)


def table_code(data: bytes, rng: Random) -> bytes:
    """Another encoding."""
    code = rng.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "utf-7"))
    return data.decode("utf-8", "replace").encode(code, "replace")


TABLE = [table_cell] * 4 + [table_column, table_column, table_line, table_line, table_code,
         numbers_in, words_in, letters_in]  # fmt: skip


# --- zip --------------------------------------------------------------------------------------


def zip_field(data: bytes, rng: Random) -> bytes:
    """A size, offset, count or method of a header, of the directory, or of its end."""
    signs = {b"PK\3\4": 30, b"PK\1\2": 46, b"PK\5\6": 22, b"PK\6\6": 56}
    places = [m.start() for m in re.finditer(b"|".join(map(re.escape, signs)), data)]
    if not places:
        return data
    at = rng.choice(places)
    size = signs[data[at : at + 4]]
    return data[: at + 4] + number_in(data[at + 4 : at + size], rng) + data[at + size :]


def zip_member(data: bytes, rng: Random) -> bytes:
    """A member is lost, doubled, renamed, or spoiled by its own kind."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            held = [(one.filename, archive.read(one)) for one in archive.infolist()]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, struct.error):
        return data
    k, way = rng.randrange(len(held)), rng.randrange(6)
    name, content = held[k]
    if way == 0:
        del held[k]
    elif way == 1:
        held.append(held[k])
    elif way == 2:
        held[k] = rng.choice(("../up", "/root", "a\\b", "", "x" * 5000, name + "/")), content
    else:
        held[k] = name, rng.choice([*_ways(name, content), *BYTES])(content, rng)
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        warnings.simplefilter("ignore")
        for each, value in held:
            out.writestr(zipfile.ZipInfo(each or "-", (1980, 1, 1, 0, 0, 0)), value)
    return stream.getvalue()


ZIP: Sequence[Callable[..., Any]] = [zip_field, zip_field, zip_member, zip_member, number_in, drop]
