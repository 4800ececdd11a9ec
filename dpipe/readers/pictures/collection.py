"""A packed collection from plain pictures: headers are read, pixels stay where they are.

Knows what a picture is made of, one file or one a channel, and what its labels are; it knows no
names and no folders.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import xarray as xr

from dpipe import schema, sources
from dpipe.errors import InputError, UsageError
from dpipe.formats import plain_pictures
from dpipe.readers import packing
from dpipe.readers.packing import Facts, Outcome
from dpipe.readers.picture_rows import PictureRows, states_of
from dpipe.readers.pictures import label_images

_SHOWN = 3


@dataclass(frozen=True)
class Record:
    """A picture.

    Attributes
    ----------
    name : str
        As it is shown: the file's name.
    files : tuple of str
        URIs: one, or one a channel; none where there are only labels.
    labels : str
        URI of its label image, "" without.
    problem : str
        Why it cannot be used, whatever its files say; "" if it can.
    """

    name: str
    files: tuple[str, ...]
    labels: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Format:
    """How the pictures of a collection are read.

    Attributes
    ----------
    look : callable
        ``look(file)`` returns `Facts`, without pixels.
    read : callable
        ``read(data)`` returns pixels (height, width, channels).
    """

    look: Callable[[BinaryIO], Facts]
    read: Callable[[bytes], np.ndarray]


def look_plain(file: BinaryIO) -> Facts:
    """Return the facts of a PNG, JPEG, BMP or plain TIFF."""
    header = plain_pictures.look(file)
    return Facts(header.height, header.width, header.channels, header.dtype)


PLAIN = Format(look_plain, plain_pictures.read)


def collection(
    records: Sequence[Record],
    form: Format,
    *,
    what: str,
    columns: Mapping[str, np.ndarray],
    channels: Sequence[str] | str | None = None,
    block: int = 0,
    notes: Iterable[str] = (),
) -> xr.Dataset:
    """Return pictures, and their labels where there are any, as one Dataset.

    Parameters
    ----------
    records : sequence of Record
        The pictures, in their order.
    form : Format
        How they are read.
    what : str
        What the collection is called in messages.
    columns : mapping of str to numpy.ndarray
        What is known of each picture besides, over ``record``.
    channels : sequence of str or str, optional
        Names of the channels, by commas; by default Ch1, Ch2, ...
    block : int
        Pictures of a block; 0 chooses by their size.
    notes : iterable of str
        What is odd about the files.

    Returns
    -------
    xarray.Dataset
        ``pixels(block, value)``, ``picture_flag(block, slot)`` and, where there are labels,
        ``label_pixels(block, place)`` and ``label_flag(block, slot)``; over ``record`` where each
        picture lies, ``file``, ``put_aside`` and `columns`.

    Raises
    ------
    InputError
        No picture can be read.
    UsageError
        Names of channels that do not fit.
    """
    if type(block) is not int or block < 0:
        raise UsageError(f"block: found {block!r}; expected a number of pictures, or 0")
    label_headers = _label_headers(records)
    outcomes = _outcomes(records, form, label_headers)
    names = [record.name for record in records]
    try:
        sound, reasons = packing.judge(outcomes, names)
        plan = packing.plan(sound, block)
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    labels, lines = _fitting_labels(records, sound, label_headers)
    kinds = [label_headers[uri].dtype for uri in labels if uri]  # type: ignore[union-attr]
    rows = PictureRows(
        plan,
        [record.files for record in records],
        form.read,
        states_of([uri for r in records for uri in (*r.files, r.labels) if uri]),
        labels,
        np.result_type(*kinds).newbyteorder("<").str if kinds else "",
        label_images.read,
    )
    numbers = np.arange(len(records))
    known = {
        "in_block": numbers // plan.block,
        "in_slot": numbers % plan.block,
        "offset": plan.offsets,
        "height": plan.heights,
        "width": plan.widths,
        "file": np.array(names, dtype=str),
        "put_aside": np.array(reasons, dtype=str),
    } | dict(columns)
    coords: schema.Attributes = {
        "block": np.arange(plan.count),
        "c": np.array(packing.channel_names(channels, plan.channels), dtype=str),
    }
    for key, values in known.items():
        described = schema.VARIABLES.get(key)
        attrs = {"long_name": described.meaning, "units": described.unit} if described else {}
        coords[key] = ("record", values, attrs)
    odd = [*notes, *lines]
    return xr.Dataset(rows.variables(), coords, {"notes": odd} if odd else {})


LabelHeaders = dict[str, label_images.LabelHeader | InputError]


def _label_headers(records: Sequence[Record]) -> LabelHeaders:
    """Return size and dtype of each label image by its URI, or what is wrong with it."""
    uris = [record.labels for record in records if record.labels]

    def look(file: BinaryIO) -> label_images.LabelHeader:
        return label_images.header_of(plain_pictures.look(file))

    return dict(zip(uris, sources.read_many(uris, look), strict=True))


def _outcomes(
    records: Sequence[Record], form: Format, label_headers: LabelHeaders
) -> list[Outcome]:
    """Return the facts of each picture, or why it cannot be used."""
    answers = sources.read_many([uri for record in records for uri in record.files], form.look)
    outcomes: list[Outcome] = []
    for record in records:
        facts = [next(answers) for _ in record.files]
        wrong = next((one for one in facts if isinstance(one, InputError)), None)
        sound = [one for one in facts if isinstance(one, Facts)]
        if record.problem:
            outcomes.append(InputError(record.problem))
        elif wrong is not None:
            outcomes.append(wrong)
        elif not record.files:
            header = label_headers[record.labels]
            outcomes.append(
                header
                if isinstance(header, InputError)
                else Facts(header.height, header.width, 1, "|u1")
            )
        elif len(set(sound)) > 1:
            sizes = ", ".join(f"{f.height} x {f.width} {np.dtype(f.dtype).name}" for f in sound)
            outcomes.append(InputError(f"channels of unlike size or dtype: {sizes}"))
        else:
            first = sound[0]
            total = first.channels * len(sound)
            outcomes.append(Facts(first.height, first.width, total, first.dtype))
    return outcomes


def _fitting_labels(
    records: Sequence[Record], sound: Sequence[Facts | None], label_headers: LabelHeaders
) -> tuple[list[str], list[str]]:
    """Return the label images that fit their pictures, and a line on those that do not."""
    labels, wrong = [], []
    for record, facts in zip(records, sound, strict=True):
        header = label_headers.get(record.labels)
        if isinstance(header, InputError):
            wrong.append(f"{record.labels.rpartition('/')[2]}: {header}")
        elif header and facts and (header.height, header.width) != (facts.height, facts.width):
            wrong.append(
                f"{record.labels.rpartition('/')[2]}: {header.height} x {header.width} pixels; its "
                f"picture has {facts.height} x {facts.width}"
            )
        elif header:
            labels.append(record.labels)
            continue
        labels.append("")
    if not wrong:
        return labels, []
    shown = "; ".join(wrong[:_SHOWN]) + ("; ..." if len(wrong) > _SHOWN else "")
    return labels, [f"{len(wrong)} label images cannot be used: {shown}"]
