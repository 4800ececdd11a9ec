from .entries import Entry, distribution, find, installed, taken
from .later import Later

__all__ = ["Entry", "Later", "distribution", "find", "installed", "taken"]
