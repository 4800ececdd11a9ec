"""The annotation doctor: what is wrong with annotated pictures, and copies of files repaired."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
