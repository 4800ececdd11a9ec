from .annotations.named_pictures import NamedPictures
from .bioio import open_bioio
from .crops.crops import open_crops
from .emdb_sff import open_emdb_sff
from .ifc.collection import open_ifc
from .ifc.folders import SUFFIXES, find
from .imaris.movies import open_imaris
from .imaris.spots import open_imaris_spots
from .imaris.surfaces import open_imaris_surfaces
from .ome_zarr.movies import open_ome_zarr
from .pictures.pairs import paired
from .table import READERS, Reader, resolve
from .tables.conditions import open_conditions
from .tables.phases import open_phases
from .tables.spillover import open_spillover
from .tiff.files import open_tiff
from .tiff.series import open_tiff_series
from .tracks.labels import open_tracks_labels
from .tracks.spots import open_tracks

__all__ = [
    "READERS",
    "SUFFIXES",
    "NamedPictures",
    "Reader",
    "find",
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
    "paired",
    "resolve",
]
