from . import repair, store
from .repair import copies
from .store import BASE

__all__ = ["BASE", "copies", "repair", "store"]
