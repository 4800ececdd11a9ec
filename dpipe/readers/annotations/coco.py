"""Annotated pictures from files in the format of COCO, with the pictures where they are there.

Every file of annotations is a part. Its pictures lie packed, in the order of the file; without
pictures among the sources the part holds the annotations and the sizes that the file gives.
"""

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import xarray as xr

from dpipe import schema, sources
from dpipe.errors import InputError, UsageError
from dpipe.formats import coco, plain_pictures
from dpipe.formats.coco_columns import Entry
from dpipe.readers import packing
from dpipe.readers.annotations.named_pictures import NamedPictures
from dpipe.readers.annotations.object_columns import objects_of, texts
from dpipe.readers.packing import Facts, Outcome
from dpipe.readers.picture_rows import PictureRows, states_of
from dpipe.sources import Item, Part, stem_of

SUFFIXES = (".json",)
_KEPT = ("id", "width", "height", "file_name")


def find(items: Iterable[Item]) -> Iterator[Part]:
    """Group files into parts: each file of annotations, with all pictures beside it.

    Parameters
    ----------
    items : iterable of Item
        Files of annotations (``.json``) and pictures.

    Yields
    ------
    Part
        Named after the file of annotations, which is its first item.

    Examples
    --------
    >>> items = [Item(f"/raw/{n}", n, 9, "0") for n in ("a/train.json", "b/1.png", "test.json")]
    >>> [(part.stem, [item.path for item in part.items]) for part in find(items)]
    [('train', ['a/train.json', 'b/1.png']), ('test', ['test.json', 'b/1.png'])]
    """
    listed = list(items)
    pictures = tuple(i for i in listed if i.uri.lower().endswith(plain_pictures.SUFFIXES))
    for item in listed:
        if item.uri.lower().endswith(SUFFIXES):
            yield Part(stem_of(item.path, SUFFIXES), (item, *pictures))


def open_coco(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    channels: str | Sequence[str] | None = None,
    block: int = 0,
) -> xr.Dataset:
    """Open a file of annotations, with its pictures; of pictures only headers are read.

    Parameters
    ----------
    url : str, path, or sequence of these
        One file of annotations, and pictures (PNG, JPEG, BMP, plain TIFF) in any folders.
    channels : str or sequence of str, optional
        Names of the pictures' channels, by commas; by default Ch1, Ch2, ...
    block : int
        Pictures of a block; 0 chooses by their size.

    Returns
    -------
    xarray.Dataset
        Pictures over ``record`` as the file lists them, packed as ``pixels(block, value)`` where
        there are any, with ``image_id``, ``file``, ``image_height`` and ``image_width`` as the
        file gives them, and whatever else it says of each (``image_<key>``); of a bare list of
        detections ``image_id`` alone. Objects over ``object`` in the order of their pictures,
        outlines as ``outline_x``, ``outline_y`` and ``run_length``; see
        `dpipe.schema.annotations`. Classes over ``category``. ``attrs["notes"]`` says what could
        not be used. A picture that is missing or damaged keeps its record and its objects, with
        height 0 and the reason in ``put_aside``.

    Raises
    ------
    InputError
        The file is no JSON, cut off, or lists no pictures; or no picture can be read.
    UsageError
        Not one file of annotations, or names of channels that do not fit.

    References
    ----------
    .. [1] https://cocodataset.org/#format-data
    """
    uris = sources.uris_of(url)
    files = [uri for uri in uris if uri.lower().endswith(SUFFIXES)]
    if len(files) != 1:
        raise UsageError(f"coco: one file of annotations (.json) a part; found {len(files)}")
    annotations = read_annotations(files[0])
    pictures = NamedPictures(uri for uri in uris if uri not in files)
    return dataset(annotations, pictures, files[0], channels=channels, block=block)


def read_annotations(uri: str) -> coco.Annotations:
    """Read a file of annotations; one on disk is mapped, not copied."""
    with sources.opened(uri) as file:
        try:
            if not isinstance(file, str):
                return coco.parse(file.read())
            if not os.path.getsize(file):
                raise InputError("an empty file; fetch it again")
            with open(file, "rb") as local:
                mapped = mmap.mmap(local.fileno(), 0, access=mmap.ACCESS_READ)
            # it is closed when nothing looks into it any more
            return coco.parse(memoryview(mapped), lambda size: _released(mapped, size))
        except InputError as error:
            raise InputError(f"{uri.rpartition('/')[2]}: {error}") from None


def _released(mapped: mmap.mmap, size: int) -> None:
    """Let go of the first pages of a file; they are read again where somebody looks at them."""
    whole = size // mmap.PAGESIZE * mmap.PAGESIZE
    if whole and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED, 0, whole)


def dataset(
    annotations: coco.Annotations,
    pictures: NamedPictures,
    uri: str,
    *,
    channels: str | Sequence[str] | None = None,
    block: int = 0,
) -> xr.Dataset:
    """Return pictures and annotations as one Dataset; see `open_coco`."""
    name = uri.rpartition("/")[2]
    notes = list(annotations.notes)
    if annotations.bare:
        return _detections(annotations, notes)
    images = [coco.with_number(image) for image in annotations.images]
    uris, outcomes = _pictures(images, pictures)
    images = [_sized(image, one) for image, one in zip(images, outcomes, strict=True)]
    problems = [coco.image_problem(image) for image in images]
    notes += [f"not used: {problem}" for problem in problems if problem]
    usable = [i for i, problem in enumerate(problems) if not problem]
    if not usable:
        why = next(filter(None, problems), "lists no pictures (images)")
        raise InputError(f"{name}: {why}; nothing to read")
    images, uris = [images[i] for i in usable], [uris[i] for i in usable]
    outcomes = _once(images, [outcomes[i] for i in usable])
    names = [str(image["file_name"]) for image in images]
    try:
        kept, reasons = packing.judge(outcomes, names)
        plan = packing.plan(kept, block)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    notes += _other_sizes(images, outcomes)
    called = packing.channel_names(channels, plan.channels)
    numbers = np.arange(len(images))
    columns: dict[str, np.ndarray] = {
        "in_block": numbers // plan.block,
        "in_slot": numbers % plan.block,
        "offset": plan.offsets,
        "height": plan.heights,
        "width": plan.widths,
        "file": np.array(names, dtype=str),
        "put_aside": np.array(reasons, dtype=str),
        "image_id": np.array([image["id"] for image in images], np.int64),
        "image_height": np.array([image["height"] for image in images], np.int64),
        "image_width": np.array([image["width"] for image in images], np.int64),
    }
    columns |= _other_keys(images, notes)
    coords: schema.Attributes = {"block": np.arange(plan.count), "c": np.array(called, dtype=str)}
    for key, values in columns.items():
        described = schema.VARIABLES.get(key)
        attrs = {"long_name": described.meaning, "units": described.unit} if described else {}
        coords[key] = ("record", values, attrs)
    variables: dict[str, xr.DataArray] = {}
    if len(pictures):
        files = [(uri,) for uri in uris]
        rows = PictureRows(plan, files, plain_pictures.read, states_of(uris))
        variables = rows.variables()
    found = xr.Dataset(variables, coords, _attributes(annotations))
    found = found.merge(objects_of(annotations, columns["image_id"], notes))
    return found.assign_attrs({"notes": notes} if notes else {})


def _detections(annotations: coco.Annotations, notes: list[str]) -> xr.Dataset:
    """Return a bare list of objects: pictures are known by their numbers only."""
    numbers = np.unique(np.array(annotations.objects.images, np.int64))
    ds = xr.Dataset({}, schema.IMAGE_ID.wrap(xr.DataArray(numbers, dims="record")))
    ds = ds.merge(objects_of(annotations, numbers, notes))
    return ds.assign_attrs({"notes": notes} if notes else {})


def _pictures(images: Sequence[Entry], pictures: NamedPictures) -> tuple[list[str], list[Outcome]]:
    """Return address and facts of each picture, or why it cannot be used."""
    if not len(pictures):
        sizes = [(image.get("height"), image.get("width")) for image in images]
        return ["" for _ in images], [
            Facts(height, width, 1, "|u1") if coco.is_number(height) and coco.is_number(width)
            else InputError("no size") for height, width in sizes
        ]  # fmt: skip
    uris: list[str] = []
    outcomes: list[Outcome] = []
    for image in images:
        try:
            uris.append(pictures.find(str(image.get("file_name", ""))))
        except InputError as error:
            uris.append("")
            outcomes.append(error)
        else:
            outcomes.append(InputError("not looked at yet"))
    looked = sources.read_many([uri for uri in uris if uri], plain_pictures.look)
    for i, uri in enumerate(uris):
        if uri:
            header = next(looked)
            outcomes[i] = (
                header
                if isinstance(header, InputError)
                else Facts(header.height, header.width, header.channels, header.dtype)
            )
    return uris, outcomes


def _sized(image: Entry, outcome: Outcome) -> Entry:
    """Return an entry with the size of its picture, where it gives none."""
    if isinstance(outcome, InputError) or {"height", "width"} <= image.keys():
        return image
    return {"height": outcome.height, "width": outcome.width} | image


def _once(images: Sequence[Entry], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Put aside all but the first of several pictures of one number: objects name it by that."""
    names: dict[int, str] = {}
    once: list[Outcome] = []
    for image, outcome in zip(images, outcomes, strict=True):
        number, name = image["id"], image["file_name"]
        again = InputError(f"image id {number} again; it is that of {names.get(number)} too")
        once.append(again if number in names else outcome)
        names.setdefault(number, name)
    return once


def _other_sizes(images: Sequence[Entry], outcomes: Sequence[Outcome]) -> list[str]:
    """Say which pictures have another size than the file of annotations gives."""
    unlike = [
        f"{image['file_name']} is {one.height} x {one.width}, not {image['height']} x "
        f"{image['width']}"
        for image, one in zip(images, outcomes, strict=True)
        if isinstance(one, Facts) and (one.height, one.width) != (image["height"], image["width"])
    ]
    if not unlike:
        return []
    return [f"{len(unlike)} pictures have another size than their entry: the first: {unlike[0]}"]


def _other_keys(images: Sequence[Entry], notes: list[str]) -> dict[str, np.ndarray]:
    """Return what else the file says of its pictures: texts and numbers, by ``image_<key>``."""
    columns: dict[str, np.ndarray] = {}
    for key in dict.fromkeys(key for image in images for key in image if key not in _KEPT):
        values = coco.rows_of(list(images), key)
        if not key.isidentifier() or any(isinstance(value, list | dict) for value in values):
            notes.append(f"images have the key {key!r}, which is not kept")
            continue
        columns[f"image_{key}"] = (
            np.array(values)
            if all(type(value) is int and abs(value) < 2**63 for value in values)
            else texts(values)
        )
    return columns


def _attributes(annotations: coco.Annotations) -> schema.Attributes:
    return {
        key: value
        for key, value in (("info", annotations.info), ("licenses", annotations.licenses))
        if value
    }
