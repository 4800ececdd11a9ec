"""Checks: whether a store holds, bit for bit, what was written, and how it is repaired."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
