from . import chunking, documents, zarr
from .documents import Json
from .objects import Listed, Objects, Put, PutFields, open_objects, safe_key

__all__ = [
    "Json",
    "Listed",
    "Objects",
    "Put",
    "PutFields",
    "chunking",
    "documents",
    "open_objects",
    "safe_key",
    "zarr",
]
