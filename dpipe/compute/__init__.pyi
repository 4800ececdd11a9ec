from . import blocks, devices
from .blocks import compute, compute_region, lazy, map_chunks, map_frames, map_tiles
from .collections import Stretch, map_blocks
from .devices import beside, chosen_device, device, namespace, ndimage, to_device, to_host
from .fold import fold
from .records import map_records, map_rows
from .refusal import nothing_computed
from .regions import Region
from .sizes import block_regions, largest_block, source_bytes, token

__all__ = [
    "Region",
    "Stretch",
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
