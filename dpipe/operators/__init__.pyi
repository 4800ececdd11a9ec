from .annotations.drawing import inside_rings, inside_runs
from .annotations.tracing import (
    LabelOutlines,
    LabelRuns,
    label_outlines,
    label_runs,
    one_ring,
    polygon_pixels,
    run_lengths,
)
from .cell_features.features import NINE, cell_features
from .crops.track_crops import track_crops
from .frames.density import cell_density
from .frames.projections import projections
from .frames.quality import frame_quality
from .frames.quality_table import quality_table
from .frames.thumbnails import thumbnails
from .parameters import check_choice, check_number, check_whole
from .pictures.channel_statistics import channel_statistics, channel_sums
from .pictures.compensate import compensate
from .pictures.derive_masks import derive_masks
from .pictures.pictures import pictures, unpack
from .pictures.quality import picture_quality
from .pictures.rescale import rescale_intensity
from .pictures.segment import segment_cells
from .surfaces.masks import mesh_masks
from .surfaces.measures import surface_measures
from .table import OPERATORS, Operator, inputs, optional, resolve
from .tables.class_frequencies import class_frequencies
from .tables.clean_features import clean_features
from .tables.feature_statistics import feature_statistics, feature_sums
from .tables.gate import gate, row_dim, select, select_alike, without_aside
from .tables.group_tests import (
    Comparison,
    compare,
    group_tests,
    grouped,
    movie_means,
    natural,
    stars,
)
from .tables.rater_agreement import cohen_kappa, rater_agreement
from .tables.sample_records import sample_records
from .tables.split_movies import split_movies
from .tables.split_records import split_records
from .tracks.checks import track_checks
from .tracks.consensus import consensus_phases, consensus_tracks
from .tracks.measures import track_measures
from .tracks.phases import phase_tracks

__all__ = [
    "NINE",
    "OPERATORS",
    "Comparison",
    "LabelOutlines",
    "LabelRuns",
    "Operator",
    "cell_density",
    "cell_features",
    "channel_statistics",
    "channel_sums",
    "check_choice",
    "check_number",
    "check_whole",
    "class_frequencies",
    "clean_features",
    "cohen_kappa",
    "compare",
    "compensate",
    "consensus_phases",
    "consensus_tracks",
    "derive_masks",
    "feature_statistics",
    "feature_sums",
    "frame_quality",
    "gate",
    "group_tests",
    "grouped",
    "inputs",
    "inside_rings",
    "inside_runs",
    "label_outlines",
    "label_runs",
    "mesh_masks",
    "movie_means",
    "natural",
    "one_ring",
    "optional",
    "phase_tracks",
    "picture_quality",
    "pictures",
    "polygon_pixels",
    "projections",
    "quality_table",
    "rater_agreement",
    "rescale_intensity",
    "resolve",
    "row_dim",
    "run_lengths",
    "sample_records",
    "segment_cells",
    "select",
    "select_alike",
    "split_movies",
    "split_records",
    "stars",
    "surface_measures",
    "thumbnails",
    "track_checks",
    "track_crops",
    "track_measures",
    "unpack",
    "without_aside",
]
