from . import chunking, documents, zarr
from .objects import Listed, Objects, Put, open_objects, safe_key

__all__ = ["Listed", "Objects", "Put", "chunking", "documents", "open_objects", "safe_key", "zarr"]
