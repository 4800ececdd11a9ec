"""Figure 3 and a gallery of crops for a run's report, as pictures that stand in the page.

Knows when a run's datasets hold enough to draw, and how much a report may cost; what is drawn
stands in ``plot.py``. Whatever goes wrong becomes a line, and the report goes on.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dpipe import catalog, plot, schema
from dpipe.catalog import opening
from dpipe.storage import Objects

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PARTS = 800
_MOST_ROWS, _COLUMNS = 12, 10
_MASK_BYTES = 256 << 20
"""Bytes of labels that outlines may cost."""
_DPI = 130
_LARGEST = 1 << 20
_MISSING = "Figure 3 and the gallery of crops are not drawn: matplotlib is missing; " + (
    "pip install 'dpipe[plot]'"
)


@dataclass(frozen=True)
class Drawing:
    """A picture: a ``data:`` URL, its size, what it shows in words, and its caption."""

    url: str
    width: int
    height: int
    alt: str
    caption: str


def drawings(
    objects: Objects, steps: Sequence[Mapping[str, Any]], problems: list[str]
) -> list[Drawing]:
    """Draw Figure 3 and a gallery of crops, each if a run's datasets hold enough for it."""
    try:
        versions = [catalog.resolve(objects, s["version"]) for s in steps if s["version"]]
    except Exception:  # noqa: BLE001  said already where the datasets are listed
        return []
    pictures = []
    for name, draw in (("Figure 3", _figure3), ("the gallery of crops", _gallery)):
        try:
            drawn = draw(objects, versions, problems)
        except Exception as error:  # noqa: BLE001  a report goes on, whatever a picture does
            problems.append(f"{name} cannot be drawn: {error}")
        else:
            pictures += [drawn] if drawn else []
    return pictures


def _figure3(
    objects: Objects, versions: Sequence[catalog.Version], problems: list[str]
) -> Drawing | None:
    """Draw the panels that have data, if there are at least two, of at least two movies."""
    if not any(_holds(ref, *_TELLING) for version in versions for ref in version.parts):
        return None
    if not plot.available():
        problems.append(_MISSING)
        return None
    if sum(len(version.parts) for version in versions) > MOST_PARTS:
        problems.append(f"Figure 3 is not drawn: more than {MOST_PARTS} parts; use dpipe plot")
        return None
    tree = plot.gather(objects, *(version.label for version in versions))
    filled = [panel for panel in plot.panels(tree) if panel.groups]
    if len(filled) < 2 or max(sum(v.size for v in panel.groups.values()) for panel in filled) < 2:
        return None
    letters = "".join(panel.letter for panel in filled)
    lacking = "".join(letter for letter in plot.LETTERS if letter not in letters)
    caption = "Quality and content of the movies, panels as in Figure 3 of the Leuko-Death study."
    caption += f" Without data: {', '.join(lacking)}." if lacking else ""
    return _drawing(plot.figure3(tree, panels=letters), " ".join(map(_said, filled)), caption)


_TELLING = (
    *(schema.FRAME_SNR.name, schema.MOVIE_SNR.name, schema.CELL_COUNT.name),
    *(variable.name for variable in schema.PHASES),
    *(schema.TRACK_LENGTH.name, schema.CONSENSUS_RATIO.name),
)


def _holds(ref: catalog.PartRef, *names: str) -> bool:
    return bool(set(names) & set(ref.summary.get("variables", ())))


def _said(panel: plot.Panel) -> str:
    """Return a panel in words, for those who do not see it."""
    groups = [
        f"{name} median {np.median(values):.3g} of {values.size}"
        for name, values in list(panel.groups.items())[:8]
    ]
    return f"{panel.letter}, {panel.title}: {', '.join(groups)}."


def _gallery(
    objects: Objects, versions: Sequence[catalog.Version], problems: list[str]
) -> Drawing | None:
    """Draw the crops of the first dataset that has any."""
    crops = [
        (version, [ref for ref in version.parts if _holds(ref, "crop", "crop_volume")])
        for version in versions
    ]
    version, refs = next(((v, parts) for v, parts in crops if parts), (None, []))
    if version is None:
        return None
    if not plot.available():
        problems += [_MISSING] if _MISSING not in problems else []
        return None
    datasets = {ref.stem: opening.open_named(objects, ref) for ref in refs[:_MOST_ROWS]}
    datasets = {stem: ds for stem, ds in datasets.items() if ds.sizes["event"]}
    if not datasets:
        return None
    outlined = _masks(objects, versions, list(datasets))
    rows = plot.rows(datasets, masks=outlined, most=_MOST_ROWS, columns=_COLUMNS)
    total = sum(int(ref.summary.get("sizes", {}).get("event", 0)) for ref in refs)
    caption = f"{version.label}: {len(rows)} of {total} crops, one a line, over time."
    alt = f"Crops over time: {', '.join(row.name for row in rows)}"
    return _drawing(plot.gallery(rows), alt, caption)


def _masks(
    objects: Objects, versions: Sequence[catalog.Version], stems: Sequence[str]
) -> dict[str, xr.Dataset] | None:
    """Return the labels of the movies shown, if few enough bytes have to be read."""
    for version in versions:
        refs = [r for r in version.parts if r.stem in stems and _holds(r, schema.LABELS.name)]
        if refs:
            datasets = {ref.stem: opening.open_named(objects, ref) for ref in refs}
            frames = [ds[schema.LABELS.name].isel(t=0) for ds in datasets.values() if ds.sizes["t"]]
            cost = _MOST_ROWS * _COLUMNS * max([frame.nbytes for frame in frames], default=0)
            return datasets if cost <= _MASK_BYTES else None
    return None


def _drawing(figure: "Figure", alt: str, caption: str) -> Drawing:
    """Return a figure as a picture of bounded size."""
    for dpi in (_DPI, _DPI // 2):
        data, width, height = plot.png(figure, dpi=dpi)
        if len(data) <= _LARGEST:
            break
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return Drawing(url, width, height, alt, caption)
