"""Upkeep of a store that lives long: what nobody names is swept away, old formats are lifted."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
