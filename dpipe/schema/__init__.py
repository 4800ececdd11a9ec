"""The vocabulary: every variable that dpipe reads or makes, with dims, kinds, unit and meaning.

One convention holds for places and times: index 0 is the first voxel, a coordinate is the
*centre* of its voxel, lengths are micrometres, times are seconds, frames count from 0. A
coordinate carries its step in ``attrs["spacing"]``, so an axis of one element has a size too.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
