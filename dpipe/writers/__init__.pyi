from .anndata import write_anndata
from .annotations.geojson import write_geojson
from .annotations.label_png import write_label_png
from .annotations.yolo import write_yolo
from .atomic import aside
from .coco import write_coco
from .emdb_sff import write_emdb_sff
from .ome_zarr import write_ome_zarr
from .table import WRITERS, export, resolve
from .tables import write_csv, write_parquet
from .tiff import write_tiff
from .training.classification import write_classification
from .training.segmentation import write_segmentation

__all__ = [
    "WRITERS",
    "aside",
    "export",
    "resolve",
    "write_anndata",
    "write_classification",
    "write_coco",
    "write_csv",
    "write_emdb_sff",
    "write_geojson",
    "write_label_png",
    "write_ome_zarr",
    "write_parquet",
    "write_segmentation",
    "write_tiff",
    "write_yolo",
]
