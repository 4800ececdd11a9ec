from .grammar import Unread, tree
from .records import evaluate, row_dim

__all__ = ["Unread", "evaluate", "row_dim", "tree"]
