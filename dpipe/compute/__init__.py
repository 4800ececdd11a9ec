"""Kernels mapped over lazy blocks, on NumPy or on CUDA; only here Dask and CuPy are named."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
