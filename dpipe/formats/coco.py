"""Files of annotations as COCO has them: pictures, classes, and objects with outlines or runs.

``annotations`` is a list, or, as some of LIVECell's files have it, an object by number; both are
read. A file is parsed in pieces: an annotation at a time becomes numbers in long arrays, so that
millions of objects take little more than their vertices.

Knows JSON and what its keys mean; knows no folders and no pixels.
"""

import codecs
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypeGuard

import msgspec
import numpy as np

from dpipe.errors import InputError
from dpipe.formats import run_lengths
from dpipe.formats.coco_columns import Annotations, Entry, Objects, Unusable
from dpipe.formats.coco_outlines import PLAIN, parse_outlines
from dpipe.formats.json_pieces import pieces

IMAGE_KEYS = ("file_name", "id", "width", "height")
"""What an image must say; other keys are kept as they are."""
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
_NO_JSON = re.compile(rb"(?<=[\[:,\s])-?(?:NaN|Infinity)(?=[\],}\s])")
_BYTE = re.compile(r"\(byte (\d+)\)")
_SHOWN = 3
_BATCH = 1024
_OTHER = (
    (b"\x1f\x8b", "packed by gzip: unpack it"),
    (b"PK\3\4", "a zip: name the file inside"),
    (codecs.BOM_UTF16_LE, "UTF-16: save it as UTF-8"),
    (codecs.BOM_UTF16_BE, "UTF-16: save it as UTF-8"),
)
"""How files begin that are no JSON, and what to do with them."""
_NO_BOX = (math.nan,) * 4


_LARGEST = 2**62
_Number = Annotated[int, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
"""A number that a column takes."""


class _Runs(msgspec.Struct):
    counts: list[int] | str
    size: tuple[_Number, _Number] | None = None


class _Annotation(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    image_id: _Number
    id: _Number | None = None
    category_id: _Number | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b"")
    area: float | None = None
    bbox: list[float | None] | None = None
    iscrowd: bool | int | None = None
    score: float | None = None
    mask_score: float | None = None
    ignore: bool | int | None = None


class _Lenient(_Annotation, forbid_unknown_fields=False):
    """The same; what else stands there is left where it is."""


class _Members(msgspec.Struct):
    annotations: msgspec.Raw = msgspec.Raw(b"")
    images: list[Entry] | None = None
    categories: list[Entry] | None = None
    info: Any = None
    licenses: Any = None


def parse(data: bytes | memoryview, release: Callable[[int], None] = lambda _: None) -> Annotations:
    """Parse a file of annotations, or a bare list of detections.

    Parameters
    ----------
    data : bytes
        JSON.
    release : callable, optional
        ``release(n)`` is told from time to time that the first n bytes are not looked at for now.

    Returns
    -------
    Annotations
        Whatever can be used. An annotation that says something impossible is left out, and
        counted in the notes; what a key that is not known holds is left out, and said.

    Raises
    ------
    InputError
        It is no JSON, is cut off, or holds no annotations.
    """
    if bytes(data[:3]) == codecs.BOM_UTF8:
        data = data[3:]
    try:
        return _parse(data, release)
    except msgspec.ValidationError as error:
        raise InputError(f"{error}; expected a file of annotations as COCO has them") from error
    except UnicodeDecodeError as error:
        raise InputError(f"no UTF-8 ({error.reason}); save it as UTF-8") from error
    except RecursionError as error:
        raise InputError("damaged: JSON nested too deeply; fetch the file again") from error
    except msgspec.DecodeError as error:
        mended = with_nulls(data)
        if mended != data:
            found = parse(mended)
            found.notes.insert(0, "NaN or Infinity in the file, which is no JSON: read as unknown")
            return found
        raise InputError(f"damaged: {_where(error, len(data))}") from error


def with_nulls(data: bytes | memoryview) -> bytes:
    """Return JSON with null instead of NaN and Infinity."""
    return _NO_JSON.sub(b"null", bytes(data))


def _parse(data: bytes | memoryview, release: Callable[[int], None]) -> Annotations:
    start = bytes(data[:64]).lstrip()[:1]
    if start == b"[":
        whole = msgspec.json.decode(data, type=msgspec.Raw)
        members = _Members(annotations=whole, images=[], categories=[])
    elif start == b"{":
        members = msgspec.json.decode(data, type=_Members)
    else:
        head = bytes(data[:4])
        how = next((f"; it is {form}" for begin, form in _OTHER if head.startswith(begin)), "")
        raise InputError(f"no JSON object{how}; expected a file of annotations as COCO has them")
    found = Annotations(
        members.images or [], members.categories or [], Objects(), members.info, members.licenses
    )
    found.bare = start == b"["
    if not memoryview(members.annotations):
        if members.images is None:
            raise InputError("no key images or annotations; expected a file as COCO has them")
        found.notes.append("no key annotations: a list of pictures only")
        return found
    release(len(data))
    _fill(found, members.annotations, release)
    return found


def _fill(found: Annotations, raw: msgspec.Raw, release: Callable[[int], None]) -> None:
    """Parse the annotations, some thousand at a time."""
    unusable = _Unusable()
    number = 0
    for texts in itertools.batched(pieces(_checked(raw), release), _BATCH):
        try:
            batch = msgspec.json.decode(b"[" + b",".join(texts) + b"]", type=list[_Annotation])
            numbered = list(enumerate(texts, number))
        except msgspec.ValidationError:  # of one of them at least
            usable = [(k, unusable.decoded(k, text)) for k, text in enumerate(texts, number)]
            numbered = [(k, texts[k - number]) for k, one in usable if one is not None]
            batch = [one for _, one in usable if one is not None]
        _add(found.objects, batch, numbered, unusable)
        number += len(texts)
    found.notes += unusable.notes()
    found.unusable = unusable.wrong


@dataclass
class _Unusable:
    """What was left out, to be said."""

    unknown: Counter[str] = field(default_factory=Counter)
    wrong: list[Unusable] = field(default_factory=list)
    as_text: int = 0
    flat: int = 0

    def decoded(self, number: int, piece: memoryview) -> _Annotation | None:
        """Return an annotation by itself, without keys that are not known; None if it is none."""
        try:
            return msgspec.json.decode(piece, type=_Annotation)
        except msgspec.ValidationError as error:
            strict = bool(_UNKNOWN.search(str(error)))
        try:
            one = msgspec.json.decode(piece, type=_Lenient, strict=strict)
        except msgspec.ValidationError:
            try:
                one = msgspec.json.decode(piece, type=_Lenient, strict=False)
            except msgspec.ValidationError as error:
                self.wrong.append(Unusable(number, str(error), bytes(piece)))
                return None
            strict = False
        self.as_text += not strict
        fields = msgspec.json.decode(piece, type=dict[str, msgspec.Raw])
        self.unknown.update(fields.keys() - set(_Annotation.__struct_fields__))
        return one

    def notes(self) -> list[str]:
        """Say it, a line each kind."""
        lines = []
        if self.wrong:
            shown = "; ".join(f"annotation {k}: {what}" for k, what, _ in self.wrong[:_SHOWN])
            shown += "; ..." if len(self.wrong) > _SHOWN else ""
            lines.append(f"{len(self.wrong)} annotations cannot be used: {shown}")
        if self.as_text:
            lines.append(f"{self.as_text} annotations have whole numbers as texts or with a point")
        if self.flat:
            lines.append(f"{self.flat} outlines are lists of numbers, read as one ring each")
        return lines + [
            f"{count} annotations have the key {key!r}, which is not kept"
            for key, count in sorted(self.unknown.items())
        ]


def _checked(raw: msgspec.Raw) -> memoryview:
    """Return the text of the annotations: a list, or an object by number."""
    view = memoryview(raw)
    if bytes(view[:1]) in (b"[", b"{"):
        return view
    if bytes(view) == b"null":
        return memoryview(b"[]")
    raise InputError("annotations: expected a list, or an object by number")


def _add(
    objects: Objects,
    batch: list[_Annotation],
    numbered: Sequence[tuple[int, memoryview]],
    unusable: _Unusable,
) -> None:
    """Add annotations to the columns; those that cannot be used are counted."""
    texts = [bytes(memoryview(one.segmentation)) for one in batch]
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=starts[1:])
    data = np.frombuffer(b"".join(texts), np.uint8)
    state, rings, sizes, x, y = parse_outlines(data, starts)
    odd = state != PLAIN
    odd |= np.array([one.bbox is not None and len(one.bbox) not in (0, 4) for one in batch], bool)
    if odd.any():  # one after another, so that they stay in order
        ends = np.cumsum(rings)
        vertices = np.concatenate([[0], np.cumsum(sizes)])
        for k, one in enumerate(batch):
            try:
                if state[k] == PLAIN:
                    a, b = ends[k] - rings[k], ends[k]
                    inside = slice(vertices[a], vertices[b])
                    outline = _Outline(sizes[a:b], x[inside], y[inside], ())
                else:
                    outline = _outline_of(texts[k], unusable)
                _extend(objects, [one], outline, [len(outline.sizes)], [len(outline.runs)])
            except InputError as error:
                number, piece = numbered[k]
                unusable.wrong.append(Unusable(number, str(error), bytes(piece)))
        return
    _extend(objects, batch, _Outline(sizes, x, y, ()), rings, np.zeros(len(batch), np.int64))


class _Outline(NamedTuple):
    """Vertices of each ring, places of all vertices, run lengths, rows of their mask."""

    sizes: np.ndarray
    x: np.ndarray
    y: np.ndarray
    runs: Sequence[int]
    height: int = 0


def _outline_of(text: bytes, unusable: _Unusable) -> _Outline:
    """Return an outline that is not plain; a list of numbers is one ring, and counted.

    Raises
    ------
    InputError
        It is none.
    """
    try:
        given = msgspec.json.decode(text, type=list[list[float | None]] | _Runs | None)
    except msgspec.DecodeError as error:
        try:
            given = [msgspec.json.decode(text, type=list[float | None])]
        except msgspec.DecodeError:
            raise InputError(f"segmentation: {error}") from error
        unusable.flat += 1
    if isinstance(given, _Runs):
        return _Outline(np.empty(0), np.empty(0), np.empty(0), *_runs_of(given))
    rings = given or []
    for ring in rings:
        if len(ring) % 2:
            raise InputError(f"a ring of {len(ring)} numbers; expected pairs of x and y")
    numbers = [math.nan if value is None else value for ring in rings for value in ring]
    sizes = np.array([len(ring) // 2 for ring in rings], np.int64)
    return _Outline(sizes, np.array(numbers[0::2]), np.array(numbers[1::2]), ())


def _extend(
    objects: Objects,
    batch: Sequence[_Annotation],
    outline: _Outline,
    rings: Sequence[int] | np.ndarray,
    runs: Sequence[int] | np.ndarray,
) -> None:
    boxes = [_box_of(one) for one in batch]
    objects.ids.extend([-1 if one.id is None else one.id for one in batch])
    objects.images.extend([one.image_id for one in batch])
    objects.categories.extend([-1 if one.category_id is None else one.category_id for one in batch])
    objects.crowd.extend([bool(one.iscrowd) for one in batch])
    objects.area.extend([math.nan if one.area is None else one.area for one in batch])
    objects.score.extend([math.nan if one.score is None else one.score for one in batch])
    objects.mask_score.extend(
        [math.nan if one.mask_score is None else one.mask_score for one in batch]
    )
    objects.boxes.extend(itertools.chain.from_iterable(boxes))
    for column, values, kind in (
        (objects.ring_counts, rings, "i8"),
        (objects.run_counts, runs, "i8"),
        (objects.run_heights, [outline.height] * len(batch), "i8"),
        (objects.vertex_counts, outline.sizes, "i8"),
        (objects.x, outline.x, "f8"),
        (objects.y, outline.y, "f8"),
        (objects.runs, outline.runs, "u4"),
    ):
        column.frombytes(np.asarray(values, kind).tobytes())


def _box_of(one: _Annotation) -> Sequence[float]:
    """Return a box; four unknown numbers without."""
    box = one.bbox
    if not box:
        return _NO_BOX
    if len(box) != 4:
        raise InputError(f"a box of {len(box)} numbers; expected 4")
    return box if None not in box else [math.nan if side is None else side for side in box]  # type: ignore[return-value]


def _runs_of(given: _Runs) -> tuple[list[int], int]:
    """Return run lengths, of a list or of a text, and the rows of their mask."""
    text = given.counts
    runs = run_lengths.decode(text).tolist() if isinstance(text, str) else text
    if any(not 0 <= run < 2**32 for run in runs):
        raise InputError("RLE: a run below 0 or too long")
    if given.size is not None and sum(runs) != given.size[0] * given.size[1]:
        raise InputError(f"RLE: {sum(runs)} pixels; its size is {given.size[0]} x {given.size[1]}")
    return runs, 0 if given.size is None else given.size[0]


def _where(error: msgspec.DecodeError, size: int) -> str:
    at = _BYTE.search(str(error))
    if "truncated" in str(error) or (at and int(at[1]) >= size - 1):
        return f"the JSON ends after {size} bytes, in the middle; fetch the file again"
    return f"no JSON ({error}); fetch the file again"


def rows_of(images: list[Entry], key: str) -> list[Any]:
    """Return one key of all images, None where it is missing."""
    return [image.get(key) for image in images]


def is_number(value: Any) -> TypeGuard[int]:
    """Tell whether a value is a whole number that a column takes."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def with_number(image: Entry) -> Entry:
    """Return an image whose number is a text of digits, or has a point, with the number."""
    number = image.get("id")
    if isinstance(number, str) and number.isascii() and number.isdecimal():
        return image | {"id": int(number)}
    if isinstance(number, float) and number.is_integer():
        return image | {"id": int(number)}
    return image


def image_problem(image: Mapping[str, Any]) -> str:
    """Return what is wrong with an image's entry, "" if nothing is."""
    for key in IMAGE_KEYS:
        value = image.get(key)
        if key == "file_name":
            if not isinstance(value, str) or not value:
                return "an image without file_name"
        elif not is_number(value):
            return f"image {image.get('file_name')!r}: {key} is {value!r}; expected a whole number"
        elif key != "id" and not 0 < value < 2**31:
            return f"image {image.get('file_name')!r}: {key} is {value}"
    return ""
