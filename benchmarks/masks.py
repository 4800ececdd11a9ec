"""Annotations at LIVECell's density: outlines, JSON, measures and average precision.

``python benchmarks/masks.py`` measures dpipe by turns with pycocotools, Python's json and
scikit-image in one process, prints ratios of processor time and writes them to its section of
RESULTS.md; ``--quick`` takes small sizes and only prints. The cells are made: 300 of 40 vertices
in pictures of 520 x 704 pixels, as LIVECell's are.
"""

import argparse
import contextlib
import copy
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from _results import write
from _side_by_side import Line, by_turns, line, machine, table, versions
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from skimage.measure import regionprops_table

from dpipe.formats import coco
from dpipe.operators.annotations.average_precision import average_precision
from dpipe.operators.annotations.object_measures import measured
from dpipe.operators.annotations.polygon_masks import polygon_masks
from dpipe.readers.annotations.coco import open_coco

HEIGHT, WIDTH, VERTICES = 520, 704, 40
PROPERTIES = (
    *("area", "bbox", "centroid", "axis_major_length", "axis_minor_length", "eccentricity"),
    *("orientation", "perimeter", "solidity", "extent", "euler_number"),
    *("equivalent_diameter_area", "intensity_mean", "intensity_min", "intensity_max"),
)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    pictures: int
    cells: int
    detections: int
    many: int
    repeats: int


FULL = Size(pictures=40, cells=300, detections=2000, many=1_600_000, repeats=5)
QUICK = Size(pictures=2, cells=60, detections=100, many=0, repeats=1)


def rings(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return outlines (cell, vertex, xy) with two decimals, round as cells are."""
    middle = rng.uniform((10, 10), (WIDTH - 10, HEIGHT - 10), (count, 1, 2))
    angle = np.sort(rng.uniform(0, 2 * np.pi, (count, VERTICES)), axis=1)
    radius = rng.uniform(7, 13, (count, 1)) + rng.normal(0, 0.3, (count, VERTICES))
    steps = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * radius[..., None]
    return np.round(np.clip(middle + steps, 0, (WIDTH, HEIGHT)), 2)


def content(pictures: int, cells: int, seed: int = 0) -> dict[str, Any]:
    """Return annotations as COCO has them."""
    rng = np.random.default_rng(seed)
    images = [
        {"id": i, "width": WIDTH, "height": HEIGHT, "file_name": f"A172_Phase_{i}.tif"}
        for i in range(pictures)
    ]
    objects = []
    for image in range(pictures):
        for ring in rings(cells, rng):
            low, high = ring.min(0), ring.max(0)
            objects.append({
                "id": len(objects), "image_id": image, "category_id": 1, "iscrowd": 0,
                "segmentation": [ring.reshape(-1).tolist()], "area": 300.0,
                "bbox": [*low.tolist(), *(high - low).tolist()],
            })  # fmt: skip
    return {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "cell"}]}


def opened(record: Any, folder: Path, name: str) -> xr.Dataset:
    """Write JSON and open it as dpipe does."""
    path = folder / name
    path.write_text(json.dumps(record))
    return open_coco(str(path))


def masks(size: Size, folder: Path) -> Line:
    """Outlines to label images; decoding, as pycocotools needs it for the same."""
    record = content(size.pictures, size.cells)
    ds = opened(record, folder, "masks.json").load()

    def ours() -> Any:
        return polygon_masks(ds)["label_pixels"].compute(scheduler="synchronous")

    def theirs() -> None:
        for one in record["annotations"]:
            coco_mask.decode(
                coco_mask.merge(coco_mask.frPyObjects(one["segmentation"], HEIGHT, WIDTH))
            )

    spent = by_turns({"ours": ours, "theirs": theirs}, size.repeats)
    ratio = spent["theirs"] / spent["ours"]
    return line("polygons to label images", "pycocotools, decoded", ratio, " times", least=60)


def text(size: Size) -> Line:
    """COCO JSON to long arrays."""
    data = json.dumps(content(size.pictures, size.cells)).encode()
    spent = by_turns(
        {"ours": lambda: coco.parse(data), "theirs": lambda: json.loads(data)}, size.repeats
    )
    return line("COCO JSON to arrays", "json", spent["theirs"] / spent["ours"], " times", least=2)


def measures(size: Size, folder: Path) -> Line:
    """Numbers of objects."""
    ds = opened(content(1, size.cells), folder, "measures.json").load()
    labels = polygon_masks(ds)["label_pixels"].values[0].reshape(HEIGHT, WIDTH)
    pixels = np.random.default_rng(0).integers(0, 255, (1, HEIGHT, WIDTH)).astype("u1")

    def ours() -> Any:
        return measured("file", "a", labels.reshape(-1), labels.shape, pixels)

    def theirs() -> Any:
        return regionprops_table(labels, pixels[0], properties=PROPERTIES)

    spent = by_turns({"ours": ours, "theirs": theirs}, size.repeats)
    ratio = spent["theirs"] / spent["ours"]
    return line("object-measures", "skimage regionprops_table", ratio, " times", least=20)


def precision(size: Size, folder: Path) -> Line:
    """Average precision of masks, from the opened datasets; of the peer from runs already made."""
    record = content(2, size.detections // 2)
    rng = np.random.default_rng(1)
    results = [
        {"image_id": one["image_id"], "category_id": 1, "score": float(rng.random()),
         "segmentation": [(np.array(one["segmentation"][0]) + rng.normal(0, 0.7)).tolist()]}
        for one in record["annotations"]
    ]  # fmt: skip
    truth = xr.DataTree.from_dict({"/m": opened(record, folder, "truth.json").load()})
    found = xr.DataTree.from_dict({"/net": opened(results, folder, "net.json").load()})
    runs = copy.deepcopy(results)
    for one in runs:
        pieces = coco_mask.frPyObjects(one["segmentation"], HEIGHT, WIDTH)
        one["segmentation"] = coco_mask.merge(pieces)

    def theirs() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            annotated = COCO()
            annotated.dataset = copy.deepcopy(record)
            annotated.createIndex()
            run = COCOeval(annotated, annotated.loadRes(copy.deepcopy(runs)), "segm")
            run.params.useCats, run.params.maxDets = 0, [100, 500, 2000]
            run.evaluate()
            run.accumulate()

    spent = by_turns(
        {"ours": lambda: average_precision(truth, found), "theirs": theirs}, min(size.repeats, 3)
    )
    ratio = spent["theirs"] / spent["ours"]
    return line("average-precision", "pycocotools COCOeval", ratio, " times", least=25)


def memory(size: Size, folder: Path) -> Line:
    """Peak memory of a process that opens very many cells."""
    found: float | None = None
    if size.many:
        path = folder / "many.json"
        cells = rings(20_000, np.random.default_rng(0)).reshape(20_000, -1).tolist()
        with path.open("w") as file:
            file.write('{"categories": [{"id": 1, "name": "cell"}], "images": [')
            file.write(", ".join(
                json.dumps({"id": i, "width": WIDTH, "height": HEIGHT, "file_name": f"{i}.tif"})
                for i in range(size.many // 300 + 1)
            ))  # fmt: skip
            file.write('], "annotations": [')
            for i in range(size.many):
                one = {"id": i, "image_id": i // 300, "category_id": 1, "iscrowd": 0,
                       "area": 300.0, "bbox": [1.0, 2.0, 3.0, 4.0],
                       "segmentation": [cells[i % len(cells)]]}  # fmt: skip
                file.write(("" if not i else ", ") + json.dumps(one))
            file.write("]}")
        code = f"from dpipe.readers.annotations.coco import open_coco; open_coco({str(path)!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
        found = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return line("peak memory, 1.6 million cells opened", "", found, " GB", most=1.5)


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes; prints only")
    quick = parser.parse_args().quick
    size, load = QUICK if quick else FULL, os.getloadavg()[0]
    warnings.simplefilter("ignore", DeprecationWarning)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [
            masks(size, folder), text(size), measures(size, folder), precision(size, folder),
            memory(size, folder),
        ]  # fmt: skip
    print(table(lines))
    if not quick:
        write(
            "Annotations",
            f"{machine()}; load {load:.1f} when it began.\n"
            f"{versions(['dpipe', 'numpy', 'pycocotools', 'hotcoco', 'scikit-image', 'msgspec'])}."
            f"\n\n{table(lines)}\n\n"
            "- Made cells at LIVECell's density: 300 of 40 vertices in 520 x 704 pixels. Ratios\n"
            "  are of processor time, by turns in one process; JSON is not counted but in its own\n"
            "  line, where the whole file is parsed. `average-precision` begins at datasets in\n"
            "  memory and ends at its table.\n",
        )


if __name__ == "__main__":
    main()
