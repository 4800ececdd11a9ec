"""A plate of nuclei as a Cellomics microscope leaves it, and pictures that people outlined.

Knows how to draw round objects with known pixels; writes .C01 with a mask of a colour an object
beside each, and a file of annotations in the format of COCO with two faults in it.
"""

import json
from pathlib import Path

import imagecodecs
import numpy as np

from dpipe.demo.truth import FieldTruth, OutlinesTruth, PlateTruth
from dpipe.formats import cellomics

PLATE = "MFGTMPcx7_170702000001"
WELLS = ("A02", "A03", "B02", "B03")
CELL_TYPES = ("A172", "MCF7")
FAULTS = {"double object": 1, "area unlike its outline": 1}
"""What is wrong with the annotations, and how often."""
_SIZE, _SPACING = (128, 160), 0.645
_BACKGROUND, _BRIGHTNESS, _NOISE = 300.0, 2500.0, 40.0
_VERTICES = 24


def write_plate(folder: str | Path, *, fields: int = 2, seed: int = 3) -> PlateTruth:
    """Write the fields of a plate with their masks, and return the truth about them.

    Parameters
    ----------
    folder : str or path
        Where; made if it is not there.
    fields : int
        Of each of the four wells.
    seed : int
        The same seed gives the same pixels.

    Returns
    -------
    PlateTruth
        The nuclei of each field: colour and pixels.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    truth: PlateTruth = {"plate": PLATE, "spacing": _SPACING, "fields": {}}
    for k, (well, field) in enumerate((w, f) for w in WELLS for f in range(fields)):
        rng = np.random.default_rng([seed, k])
        labels, image = _drawn(rng, int(rng.integers(5, 12)))
        colours = rng.choice(2**24 - 1, labels.max(), replace=False) + 1
        stem = f"{PLATE}_{well}f{field:02d}d0"
        pixels = np.clip(rng.normal(image, _NOISE), 0, 65535).astype(np.uint16)
        (root / f"{stem}.C01").write_bytes(cellomics.write(pixels, spacing=_SPACING))
        packed = np.concatenate([[0], colours])[labels]
        mask = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.uint8)
        (root / f"{stem}_objects.png").write_bytes(imagecodecs.png_encode(mask))
        counts = np.bincount(labels.ravel())[1:]
        nuclei = dict(zip(map(str, colours.tolist()), counts.tolist(), strict=True))
        truth["fields"][f"{stem}.C01"] = FieldTruth(well=well, field=field, nuclei=nuclei)
    return truth


def write_outlined(folder: str | Path, *, pictures: int = 3, seed: int = 4) -> OutlinesTruth:
    """Write pictures with the outlines of their cells, named as LIVECell's are.

    Parameters
    ----------
    folder : str or path
        Gets ``outlined.json`` and a folder of pictures for each cell type.
    pictures : int
        Of each cell type.
    seed : int
        The same seed gives the same pixels.

    Returns
    -------
    OutlinesTruth
        The cells of each picture, and the faults that were planted in the annotations.
    """
    root = Path(folder)
    images, objects = [], []
    cells: dict[str, int] = {}
    for k, (kind, number) in enumerate((c, n) for c in CELL_TYPES for n in range(pictures)):
        rng = np.random.default_rng([seed, k])
        name = f"{kind}_Phase_A{number + 1}_1_00d{4 * number:02d}h00m_1.png"
        _, image = _drawn(rng, 6)
        grey = np.clip(128 + (image - _BACKGROUND) / 60 + rng.normal(0, 4, _SIZE), 0, 255)
        path = root / "images" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(imagecodecs.png_encode(grey.astype(np.uint8)))
        images.append({"id": k + 1, "file_name": name, "height": _SIZE[0], "width": _SIZE[1]})
        outlines = _outlines(rng, 6)
        objects += [_annotation(k + 1, outline) for outline in outlines]
        cells[name] = len(outlines)
    double = dict(objects[0])
    objects[5]["area"] = 3 * float(str(objects[5]["area"]))
    for i, one in enumerate((*objects, double), 1):
        one["id"] = i
    content = {
        "info": {"description": "made by dpipe demo"}, "images": images,
        "licenses": [{"id": 1, "name": "CC0 1.0", "url": ""}],
        "categories": [{"id": 1, "name": "cell", "supercategory": "cell"}],
        "annotations": [*objects, double],
    }  # fmt: skip
    (root / "outlined.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    return {"cells": cells, "faults": dict(FAULTS)}


def _places(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return centres (y, x) and radii of round objects that keep apart."""
    found: list[np.ndarray] = []
    while len(found) < count:
        radius = rng.uniform(6, 11)
        centre = rng.uniform((radius + 2,) * 2, np.array(_SIZE) - radius - 2)
        if all(np.hypot(*(centre - one[:2])) > radius + one[2] + 2 for one in found):
            found.append(np.array([*centre, radius]))
    return np.array(found)


def _drawn(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a label image of round objects, and their brightness."""
    y, x = np.ogrid[: _SIZE[0], : _SIZE[1]]
    labels, image = np.zeros(_SIZE, np.int64), np.full(_SIZE, _BACKGROUND)
    for k, (top, left, radius) in enumerate(_places(rng, count), 1):
        inside = 1 - ((y - top) ** 2 + (x - left) ** 2) / radius**2
        labels[inside > 0] = k
        image += _BRIGHTNESS * np.sqrt(np.clip(inside, 0, None))
    return labels, image


def _outlines(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Return outlines (vertex, xy) with two decimals."""
    angle = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return [np.round(circle * radius + (left, top), 2) for top, left, radius in _places(rng, count)]


def _annotation(image: int, outline: np.ndarray) -> dict[str, object]:
    x, y = outline.T
    low, high = outline.min(0), outline.max(0)
    area = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    return {
        "image_id": image, "category_id": 1, "iscrowd": 0, "area": area,
        "segmentation": [outline.reshape(-1).tolist()],
        "bbox": [*low.tolist(), *(high - low).tolist()],
    }  # fmt: skip
