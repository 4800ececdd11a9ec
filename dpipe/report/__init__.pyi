from .lines import lines
from .page import write
from .text import table

__all__ = ["lines", "table", "write"]
