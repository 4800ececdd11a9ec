from . import blocks, devices
from .blocks import (
    block_regions,
    compute,
    compute_region,
    largest_block,
    lazy,
    map_chunks,
    map_frames,
    map_tiles,
    source_bytes,
    token,
)
from .collections import map_blocks
from .devices import beside, chosen_device, device, namespace, ndimage, to_device, to_host
from .fold import fold
from .records import map_records, map_rows
from .refusal import nothing_computed
from .regions import Region

__all__ = [
    "Region",
    "beside",
    "block_regions",
    "blocks",
    "chosen_device",
    "compute",
    "compute_region",
    "device",
    "devices",
    "fold",
    "largest_block",
    "lazy",
    "map_blocks",
    "map_chunks",
    "map_frames",
    "map_records",
    "map_rows",
    "map_tiles",
    "namespace",
    "ndimage",
    "nothing_computed",
    "source_bytes",
    "to_device",
    "to_host",
    "token",
]
