"""Batches of records for training, shuffled and in balance, straight from a store."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
