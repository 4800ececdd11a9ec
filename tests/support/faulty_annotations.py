"""Annotated pictures without any fault, and one fault of each kind to be planted in them."""

import copy
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

HEIGHT, WIDTH = 150, 160
PICTURES, ROWS, COLUMNS, STEP, RADIUS = 6, 5, 5, 28, 9
Content = dict[str, Any]


def octagon(x: float, y: float, radius: float = RADIUS) -> list[float]:
    """Eight corners around a place, as x and y by turns, with two decimals."""
    turns = [math.pi * (k + 0.4) / 4 for k in range(8)]
    corners = [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in turns]
    return [round(value, 2) for corner in corners for value in corner]


def measured(ring: Sequence[float]) -> Content:
    """A ring with the box and the shoelace area that it has."""
    x, y = np.array(ring).reshape(-1, 2).T
    area = abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) / 2
    box = [x.min(), y.min(), np.ptp(x), np.ptp(y)]
    return {"segmentation": [list(ring)], "bbox": [float(side) for side in box], "area": area}


def runs_of(top: int, left: int, height: int, width: int) -> Content:
    """A rectangle as an RLE, with its box and its pixels."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    flat = mask.ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = [0] * bool(flat[0]) + np.diff([0, *ends.tolist(), flat.size]).tolist()
    runs = {"size": [HEIGHT, WIDTH], "counts": counts}
    return {"segmentation": runs, "bbox": [left, top, width, height], "area": height * width}


def name_of(k: int) -> str:
    return f"A172_Phase_A7_1_00d{4 * k:02d}h00m_1.png"


def clean() -> Content:
    """Six pictures of a well, 25 cells each; one is an RLE, one a box, one stands for several."""
    images = [
        {"id": 10 + k, "file_name": name_of(k), "height": HEIGHT, "width": WIDTH, "url": f"u/{k}"}
        for k in range(PICTURES)
    ]
    objects: list[Content] = []
    for k in range(PICTURES):
        for row in range(ROWS):
            for column in range(COLUMNS):
                ring = octagon(16 + STEP * column + 0.3 * k, 15 + STEP * row)
                one = {"id": len(objects) + 1, "image_id": 10 + k, "category_id": 1 + row % 2}
                objects.append(one | measured(ring) | {"iscrowd": 0, "drawn_by": "ann"})
    objects[0] |= runs_of(6, 7, 18, 17)
    del objects[1]["segmentation"]
    objects[2] |= runs_of(0, 0, 40, 60) | {"iscrowd": 1}
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "debris"}]
    info = {"year": 2026, "description": "synthetic"}
    return {"info": info, "images": images, "annotations": objects, "categories": categories}


def pixels(k: int) -> np.ndarray:
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    return ((y * 3 + x * 7 + 11 * k) % 251).astype(np.uint8)


def write(folder: Path, content: Content, name: str = "m.json") -> Path:
    """Write annotations, and the pictures beside them in ``images``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for k in range(PICTURES):
        (folder / "images" / name_of(k)).write_bytes(imagecodecs.png_encode(pixels(k)))
    (folder / "images" / "other.png").write_bytes(imagecodecs.png_encode(pixels(PICTURES)))
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def _twice(content: Content) -> None:
    """A picture with another number, and half of its objects."""
    content["images"].append(content["images"][0] | {"id": 99})
    for one in [one for one in content["annotations"] if one["image_id"] == 10][::2]:
        one["image_id"] = 99


def _copied(content: Content) -> None:
    ring = [value + 0.1 for value in content["annotations"][30]["segmentation"][0]]
    content["annotations"].append(content["annotations"][30] | measured(ring) | {"id": 999})


def _moved(content: Content, dx: float) -> None:
    """Move an object of the first column with everything that it says."""
    ring = content["annotations"][30]["segmentation"][0]
    content["annotations"][30] |= measured([v + dx * (k % 2 == 0) for k, v in enumerate(ring)])


def _vertex(content: Content) -> None:
    content["annotations"][31]["segmentation"][0][0] += 4.0


def _crossed(content: Content) -> None:
    ring = content["annotations"][32]["segmentation"][0]
    ring[0:2], ring[4:6] = ring[4:6], ring[0:2]


def _near(content: Content) -> None:
    ring = content["annotations"][33]["segmentation"][0]
    shifted = [value + 20.0 * (k % 2 == 0) for k, value in enumerate(ring)]
    content["annotations"][33] |= measured(shifted)


def _few(content: Content) -> None:
    mine = [one for one in content["annotations"] if one["image_id"] == 12]
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 12]
    content["annotations"] += mine[:2]


def _none(content: Content) -> None:
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 12]


def _set(i: int, **values: Any) -> Callable[[Content], None]:
    return lambda content: content["annotations"][i].update(values)


def _ring(i: int, change: Callable[[list[Any]], list[Any]]) -> Callable[[Content], None]:
    def plant(content: Content) -> None:
        content["annotations"][i]["segmentation"][0] = change(
            content["annotations"][i]["segmentation"][0]
        )

    return plant


def _transposed(content: Content) -> None:
    content["annotations"][0]["segmentation"]["size"] = [WIDTH, HEIGHT]


def _longer(content: Content) -> None:
    content["annotations"][0]["segmentation"]["counts"][-1] += 7


FAULTS: dict[str, tuple[str, Callable[[Content], None]]] = {
    "a picture under two numbers": ("picture_twice", _twice),
    "an entry repeated": ("picture_twice", lambda c: c["images"].append(dict(c["images"][0]))),
    "a number for two pictures": (
        "picture_twice",
        lambda c: c["images"].append(c["images"][0] | {"file_name": "other.png"}),
    ),
    "a box moved": ("box_disagrees", _set(30, bbox=[3.0, 3.0, 18.0, 18.0])),
    "a vertex moved": ("box_disagrees", _vertex),
    "an area of another": ("area_disagrees", _set(30, area=100.0)),
    "an area of an RLE": ("area_disagrees", _set(0, area=18 * 17 + 30)),
    "an outline that crosses itself": ("crossing_outline", _crossed),
    "an object drawn twice": ("double_object", _copied),
    "an object half outside": ("outside", lambda c: _moved(c, -16.3)),
    "an object outside": ("outside", lambda c: _moved(c, -60.0)),
    "a box outside": ("outside", _set(1, bbox=[150.0, 140.0, 18.0, 8.0])),
    "an object on another": ("overlap", _near),
    "a picture of two objects": ("incomplete_picture", _few),
    "a picture of none": ("empty_picture", _none),
    "a class that is not listed": ("unknown_category", _set(30, category_id=7)),
    "an RLE of a turned picture": ("bad_runs", _transposed),
    "an RLE that is too long": ("bad_runs", _longer),
    "an id given twice": ("annotation_id_twice", _set(30, id=3)),
    "an annotation written twice": (
        "annotation_id_twice",
        lambda c: c["annotations"].append(copy.deepcopy(c["annotations"][30])),
    ),
    "an annotation of no picture": ("unlisted_picture", _set(30, image_id=77)),
    "an outline of two vertices": ("bad_outline", _ring(30, lambda ring: ring[:4])),
    "an outline of an odd count": ("bad_outline", _ring(30, lambda ring: ring[:-1])),
    "a vertex that is no number": ("bad_outline", _ring(30, lambda r: [math.nan, *r[1:]])),
    "neither outline nor box": ("bad_outline", _set(30, segmentation=[], bbox=None)),
    "an outline that is a line": (
        "no_area",
        _set(30, segmentation=[[9.0, 9.0, 20.0, 9.0, 14.0, 9.0]], bbox=[9, 9, 11, 0], area=0),
    ),
    "a box without height": ("no_area", _set(1, bbox=[40.0, 9.0, 18.0, 0.0], area=0)),
    "an entry without a size": ("unusable_entry", lambda c: c["images"][0].pop("width")),
    "an id that is a text": ("unusable_entry", _set(30, image_id="ten")),
}
"""What is planted: its kind, and how."""

UNREPAIRED = (
    "crossing_outline", "overlap", "incomplete_picture", "empty_picture", "unknown_category"
)  # fmt: skip
"""Kinds that nobody can mend without looking at the pictures."""


def planted(fault: str) -> Content:
    """Clean annotations with one fault of `FAULTS`."""
    content = copy.deepcopy(clean())
    FAULTS[fault][1](content)
    return content
