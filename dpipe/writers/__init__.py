"""Writers: each turns lazy Datasets into foreign files; `WRITERS` names them all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
