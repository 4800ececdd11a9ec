"""Faults of label images: one number for two objects, and colours that were smoothed.

A number whose pieces are farther apart than the largest of them is long stands for two objects,
as two objects of one colour do; pieces that are closer may be an object that another one covers.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from scipy import ndimage
from skimage import measure

from dpipe import schema
from dpipe.doctor.findings import Example, Findings

_UNREADABLE = 1 << schema.LABEL_FLAGS.index("unreadable")
_TINY, _MANY = 4, 10
"""Pixels of a piece as edges of smoothed colours are, and pieces that are not yet many."""
_LEAST = 5
"""Pixels between two pieces that are never far."""


def report_labels(ds: xr.Dataset, label: str, findings: Findings) -> None:
    """Add faults of the label images of a packed collection to the findings.

    Parameters
    ----------
    ds : xarray.Dataset
        With ``label_pixels`` and, from a reader, ``label_flag``.
    label : str
        What examples call it.
    findings : Findings
        Gets ``damaged_picture``, ``smoothed_labels`` and ``label_in_pieces``.
    """
    names = [str(name) for name in ds["file"].values]
    if "put_aside" in ds:
        reasons = zip(names, ds["put_aside"].values.tolist(), strict=True)
        findings.add(
            "damaged_picture", (Example(label, name, (), why) for name, why in reasons if why)
        )
    flags = ds["label_flag"].values if "label_flag" in ds else None
    blocks, slots = ds["in_block"].values, ds["in_slot"].values
    for block in np.unique(blocks):
        row = ds["label_pixels"].sel(block=block).values
        for i in np.flatnonzero(blocks == block).tolist():
            height, width, at = (int(ds[key].values[i]) for key in ("height", "width", "offset"))
            if flags is not None and flags[block, slots[i]] & _UNREADABLE:
                findings.add("damaged_picture", [Example(label, names[i])])
            elif height * width:
                labels = row[at : at + height * width].reshape(height, width)
                _report_picture(labels, Example(label, names[i]), findings)


def _report_picture(labels: np.ndarray, where: Example, findings: Findings) -> None:
    """Add faults of a label image to the findings; where colours were smoothed, only that."""
    regions = _regions(labels)
    sizes = np.bincount(regions.ravel())[1:]
    tiny = int((sizes < _TINY).sum())
    if tiny > max(_MANY, len(sizes) - tiny):
        told = f"{tiny} pieces of fewer than {_TINY} pixels, {len(sizes) - tiny} others"
        findings.add("smoothed_labels", [where._replace(detail=told)])
        return
    told_of = apart(labels, regions)
    findings.add(
        "label_in_pieces", (where._replace(annotations=(n,), detail=t) for n, t in told_of)
    )


def _regions(labels: np.ndarray) -> np.ndarray:
    """Return numbers of connected pieces, of which each has one number of a label image."""
    return np.asarray(measure.label(labels.astype(np.int64), connectivity=2, background=0))


def apart(labels: np.ndarray, regions: np.ndarray | None = None) -> Iterator[tuple[int, str]]:
    """Yield the numbers of a label image that stand for objects far apart, and how far.

    Parameters
    ----------
    labels : numpy.ndarray, shape (height, width)
        Numbers of objects, 0 outside.
    regions : numpy.ndarray, optional
        Numbers of its connected pieces, if they are known.

    Yields
    ------
    tuple of (int, str)
        A number, and what is told of it.

    Examples
    --------
    >>> labels = np.zeros((8, 40), "u1")
    >>> labels[2:5, 2:6] = labels[2:5, 30:33] = 7
    >>> list(apart(labels))
    [(7, '2 pieces, 24 pixels apart')]
    """
    regions = _regions(labels) if regions is None else regions
    pieces, first = np.unique(regions, return_index=True)
    inside = pieces > 0
    values = labels.ravel()[first[inside]]
    boxes = np.array(
        [[side.start, side.stop] for box in ndimage.find_objects(regions) for side in box], int
    ).reshape(-1, 2, 2)
    order = np.argsort(values, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
        if len(group) < 2:
            continue
        mine = boxes[group]
        sizes = np.diff(mine, axis=2)[..., 0].max(axis=1)
        largest = mine[sizes.argmax()]
        gaps = np.maximum(mine[:, :, 0] - largest[:, 1], largest[:, 0] - mine[:, :, 1]).max(axis=1)
        if gaps.max() > max(sizes.max(), _LEAST):
            yield int(values[group[0]]), f"{len(group)} pieces, {gaps.max()} pixels apart"
