"""Annotated pictures with known truth, written as files in the format of COCO."""

import json
import tempfile
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import xarray as xr

from dpipe.operators.annotations.polygon_masks import polygon_masks
from dpipe.readers import READERS
from dpipe.readers.annotations.coco import open_coco

OUTLINES = (
    (7, [[1.0, 1.0, 6.5, 1.0, 6.5, 4.25, 1.0, 4.25]]),
    (7, [[4.0, 2.0, 9.0, 2.0, 9.0, 6.0]]),
    (3, [[0.0, 0.0, 3.0, 0.0, 3.0, 3.0], [5.5, 5.5, 8.5, 5.5, 8.5, 8.5, 5.5, 8.5]]),
)
"""Number of the picture and rings of each object, in the order of the file."""
SIZES = {3: (10, 12), 7: (8, 11)}
"""Height and width of each picture by its number, in the order of the file."""


def content(**changes: Any) -> dict[str, Any]:
    """Two pictures, three objects of two classes and one that stands for several."""
    images = [
        {"id": k, "file_name": f"cells_{k}.tif", "height": h, "width": w, "license": 1}
        for k, (h, w) in SIZES.items()
    ]
    objects = [
        {"id": 100 + i, "image_id": image, "category_id": 1 + i % 2, "segmentation": rings,
         "area": 10.5 + i, "bbox": [1.0, 2.0, 3.0, 4.0 + i], "iscrowd": 0}
        for i, (image, rings) in enumerate(OUTLINES)
    ]  # fmt: skip
    crowd = {"id": 103, "image_id": 3, "category_id": 1, "iscrowd": 1, "area": 9.0,
             "segmentation": {"size": [10, 12], "counts": [50, 9, 61]},
             "bbox": [5, 0, 1, 9]}  # fmt: skip
    categories = [{"id": 1, "name": "cell", "supercategory": "alive"}, {"id": 2, "name": "debris"}]
    licenses = [{"id": 1, "name": "CC BY 4.0", "url": "https://example.org"}]
    return {
        "info": {"year": 2026}, "licenses": licenses, "categories": categories,
        "images": images, "annotations": [*objects, crowd],
    } | changes  # fmt: skip


def picture(number: int) -> np.ndarray:
    height, width = SIZES[number]
    y, x = np.ogrid[:height, :width]
    return ((y * 31 + x * 7 + number) % 251).astype(np.uint8)


def write(folder: Path, *, pictures: bool = True, **changes: Any) -> Path:
    """Write ``m.json`` and, in a folder of another name, its pictures as PNG."""
    path = folder / "m.json"
    path.write_text(json.dumps(content(**changes)))
    if pictures:
        (folder / "images" / "A172").mkdir(parents=True)
        for number in SIZES:
            data = imagecodecs.png_encode(picture(number))
            (folder / "images" / "A172" / f"cells_{number}.png").write_bytes(data)
    return path


def labels_of(masks: xr.Dataset, i: int, name: str = "label_pixels") -> np.ndarray:
    """The label image of record `i`."""
    height, width, offset = (int(masks[k].values[i]) for k in ("height", "width", "offset"))
    row = masks[name].sel(block=int(masks["in_block"].values[i])).values
    return row[offset : offset + height * width].reshape(height, width)


def write_alone(folder: Path) -> Path:
    """Write annotations without pictures."""
    return write(folder, pictures=False)


def dataset() -> xr.Dataset:
    """What the reader makes of annotations without pictures."""
    with tempfile.TemporaryDirectory() as folder:
        return open_coco(str(write_alone(Path(folder)))).load()


def labelled() -> xr.Dataset:
    """Label images of the annotations, with pixels of their own."""
    masks = polygon_masks(dataset()).compute()
    pixels = np.arange(masks["label_pixels"].size).reshape(masks["label_pixels"].shape) * 7 % 251
    return masks.assign(pixels=(("block", "value"), pixels.astype("u2")))


def detected() -> tuple[xr.DataTree, xr.DataTree]:
    """The annotations, and detections that find all but one of them, one a little off."""
    truth = dataset()
    found = truth.isel(object=[0, 1, 2], ring=[0, 1, 2]).load()
    found["object_score"] = ("object", [0.9, 0.5, 0.7])
    found["outline_x"] = found["outline_x"] + 0.4
    return xr.DataTree.from_dict({"/m": truth}), xr.DataTree.from_dict({"/net": found})


def opened(folder: Path) -> xr.Dataset:
    """What the reader makes of the only file of annotations in a folder, and its pictures."""
    (part,) = READERS["coco"].parts([str(folder)])
    return open_coco([item.uri for item in part.items])


def source(folder: Path, **changes: Any) -> xr.Dataset:
    """Annotations and their pictures, written into a new folder and read."""
    folder.mkdir()
    write(folder, **changes)
    return opened(folder)


def odd_labels() -> np.ndarray:
    """A frame with a hole, and far away two diagonal pixels of an object of a large number."""
    labels = np.zeros((8, 9), "u4")
    labels[1:6, 1:6] = 3
    labels[2:5, 2:4] = 0
    labels[6, 7] = labels[7, 8] = 700_000
    return labels


def collection(labels: np.ndarray) -> xr.Dataset:
    """A packed collection of one label image and no picture."""
    height, width = labels.shape
    layout = {"in_block": 0, "in_slot": 0, "offset": 0, "height": height, "width": width}
    known = layout | {"file": "a.png", "put_aside": ""}
    coords: dict[str, Any] = {name: ("record", [value]) for name, value in known.items()}
    row = labels.reshape(1, -1)
    return xr.Dataset({"label_pixels": (("block", "place"), row)}, coords | {"block": [0]})
