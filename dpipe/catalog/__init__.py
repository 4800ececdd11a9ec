"""The catalog: which versions a store holds, of which sealed parts, made by whom and of what."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
