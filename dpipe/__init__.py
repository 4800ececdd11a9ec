"""dpipe turns raw bioimage collections into cloud-native, quality-checked, AI-ready data.

A **reader** turns a foreign file into a lazy xarray Dataset. The **store** keeps Datasets as
OME-Zarr. An **operator** turns a Dataset into a Dataset, block by block. A **recipe** says which
operators make which datasets from which sources; a **run** does the part of it that is missing,
in partitions that can be repeated. The **catalog** records what exists and how it came to be. A
**writer** turns a Dataset into a foreign file.

    tree = dpipe.open("s3://lab/store", "leuko")         # lazy, one child per movie
    quality = dpipe.each(tree, dpipe.frame_quality)      # lazy too
    dpipe.save(quality, "s3://lab/store", "leuko-quality", message="median of 5")

The package is a total order of files: each uses only those above it. Vocabulary (``errors``,
``redaction``, ``units``, ``schema``, ``metadata``, ``ngff``, ``config``), machines (``arrays``,
``blocks``, ``pyramid``, ``objects``, ``documents``, ``heartbeat``, ``ledger``, ``sources``,
``spreadsheets``, ``pages``, ``measures``, ``store``, ``containers``, ``cluster``), shelves
(``readers``, ``operators``, ``writers``), service (``versions``, ``catalog``, ``seal``,
``parameters``, ``source_checks``, ``origin``, ``outline``, ``marks``, ``parts``, ``tree``,
``recipe``, ``plan``, ``drive``, ``outcome``, ``run``, ``plot``, ``report``, ``checks``,
``repair``, ``upkeep``, ``census``), doors (``view``, ``batches``, ``demo``, ``cli``).
"""

__version__ = "0.1.0"

from dpipe import plot
from dpipe.arrays import device
from dpipe.batches import Batches
from dpipe.catalog import History, Version
from dpipe.config import Settings
from dpipe.errors import (
    DamageError,
    DpipeError,
    InputError,
    NotAStoreError,
    NotFoundError,
    RecipeError,
    RefusedError,
    SchemaError,
    StoreError,
    UsageError,
)
from dpipe.operators import (
    OPERATORS,
    cell_density,
    cell_features,
    channel_statistics,
    channel_sums,
    class_frequencies,
    clean_features,
    compensate,
    consensus_phases,
    consensus_tracks,
    derive_masks,
    feature_statistics,
    feature_sums,
    frame_quality,
    gate,
    group_tests,
    mesh_masks,
    phase_tracks,
    picture_quality,
    pictures,
    projections,
    quality_table,
    rater_agreement,
    rescale_intensity,
    sample_records,
    segment_cells,
    split_movies,
    split_records,
    surface_measures,
    thumbnails,
    track_checks,
    track_crops,
    track_measures,
)
from dpipe.operators.gate import select
from dpipe.operators.pictures import unpack
from dpipe.operators.rater_agreement import cohen_kappa
from dpipe.readers import READERS
from dpipe.readers.bioio import open_bioio
from dpipe.readers.conditions import open_conditions
from dpipe.readers.emdb_sff import open_emdb_sff
from dpipe.readers.ifc import open_ifc
from dpipe.readers.imaris import open_imaris
from dpipe.readers.imaris_spots import open_imaris_spots
from dpipe.readers.imaris_surfaces import open_imaris_surfaces
from dpipe.readers.ome_zarr import open_ome_zarr
from dpipe.readers.phases import open_phases
from dpipe.readers.spillover import open_spillover
from dpipe.readers.tiff import open_tiff
from dpipe.readers.tiff_crops import open_crops
from dpipe.readers.tiff_series import open_tiff_series
from dpipe.readers.tracks import open_tracks
from dpipe.readers.tracks_labels import open_tracks_labels
from dpipe.recipe import load as load_recipe
from dpipe.run import run_recipe
from dpipe.tree import each, history, open, save
from dpipe.writers import (
    WRITERS,
    export,
    write_anndata,
    write_classification,
    write_coco,
    write_csv,
    write_emdb_sff,
    write_ome_zarr,
    write_parquet,
    write_segmentation,
    write_tiff,
)

__all__ = [
    "OPERATORS",
    "READERS",
    "WRITERS",
    "Batches",
    "DamageError",
    "DpipeError",
    "History",
    "InputError",
    "NotAStoreError",
    "NotFoundError",
    "RecipeError",
    "RefusedError",
    "SchemaError",
    "Settings",
    "StoreError",
    "UsageError",
    "Version",
    "cell_density",
    "cell_features",
    "channel_statistics",
    "channel_sums",
    "class_frequencies",
    "clean_features",
    "cohen_kappa",
    "compensate",
    "consensus_phases",
    "consensus_tracks",
    "derive_masks",
    "device",
    "each",
    "export",
    "feature_statistics",
    "feature_sums",
    "frame_quality",
    "gate",
    "group_tests",
    "history",
    "load_recipe",
    "mesh_masks",
    "open",
    "open_bioio",
    "open_conditions",
    "open_crops",
    "open_emdb_sff",
    "open_ifc",
    "open_imaris",
    "open_imaris_spots",
    "open_imaris_surfaces",
    "open_ome_zarr",
    "open_phases",
    "open_spillover",
    "open_tiff",
    "open_tiff_series",
    "open_tracks",
    "open_tracks_labels",
    "phase_tracks",
    "picture_quality",
    "pictures",
    "plot",
    "projections",
    "quality_table",
    "rater_agreement",
    "rescale_intensity",
    "run_recipe",
    "sample_records",
    "save",
    "segment_cells",
    "select",
    "split_movies",
    "split_records",
    "surface_measures",
    "thumbnails",
    "track_checks",
    "track_crops",
    "track_measures",
    "unpack",
    "write_anndata",
    "write_classification",
    "write_coco",
    "write_csv",
    "write_emdb_sff",
    "write_ome_zarr",
    "write_parquet",
    "write_segmentation",
    "write_tiff",
]
