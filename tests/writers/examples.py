"""Examples of writers: a Dataset that each writes, and a row for each writer."""

import annotated
import numpy as np
import xarray as xr
from examples import WriterExample
from readers.examples import meshes_of_movie, movie
from windows import crops

from dpipe import operators, schema


def table() -> xr.Dataset:
    """Numbers and labels of six cells; two columns have holes, one has no spread."""
    values = np.arange(24.0).reshape(6, 4) % 7
    values[:, 2], values[1, 0], values[2, 3] = 5, np.nan, np.inf
    columns = {"label": ["A", "A", "B", "B", "-1", "A"], "donor": ["d", "e"] * 3}
    columns |= {"file": [f"0_{i}.h5" for i in range(6)], "experiment": ["x"] * 6}
    columns |= {"condition": ["c0"] * 6}
    coords = {name: ("record", column) for name, column in columns.items()}
    features = schema.FEATURE.wrap(xr.DataArray(values, dims=("record", "name")))
    return xr.Dataset(features).assign_coords(coords | {"name": ["a", "b", "c", "d"]})


def masked() -> xr.Dataset:
    masks = operators.mesh_masks(movie(), meshes_of_movie())
    return movie().merge(masks).assign_coords(split="test")


def frame_table() -> xr.Dataset:
    return operators.frame_quality(movie())


def cropped() -> xr.Dataset:
    return crops("m").assign_coords(split="train")


EXAMPLES = {
    "anndata": WriterExample(table),
    "classification": WriterExample(cropped),
    "coco": WriterExample(masked, inverse=False),  # frames of movies come back as pictures
    "csv": WriterExample(frame_table),
    "emdb-sff": WriterExample(meshes_of_movie),
    "geojson": WriterExample(lambda: annotated.collection(annotated.odd_labels())),
    "label-png": WriterExample(lambda: annotated.collection(annotated.odd_labels())),
    "ome-zarr": WriterExample(movie),
    "parquet": WriterExample(frame_table, options_of="csv"),
    "segmentation": WriterExample(masked),
    "tiff": WriterExample(movie, exact=False),  # a TIFF holds a fresh UUID
    "yolo": WriterExample(lambda: annotated.collection(annotated.odd_labels())),
}
