"""What is known beside pixels: the study and its people, facts of images, OME-Zarr's attributes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
