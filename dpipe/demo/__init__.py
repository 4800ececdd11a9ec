"""A small study that looks like a real one: movies, tracks, annotations and pictures of cells."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
