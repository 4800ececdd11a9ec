"""Expressions over rows, such as ``cell_area > 50 and label == 1``: a grammar, and its values."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
