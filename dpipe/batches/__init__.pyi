from .loader import Batches

__all__ = ["Batches"]
