"""Where tasks run: in this process, on local processes, on a Dask cluster or a Dask Gateway."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
