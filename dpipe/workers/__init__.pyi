from . import address
from .connection import connect
from .protocol import Finished, Workers

__all__ = ["Finished", "Workers", "address", "connect"]
