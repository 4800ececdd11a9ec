from .addresses import one_uri, resolve_uri, uris_of, urls_of
from .archives import bucket_of
from .cache import cache_folder, fetch
from .files import list_items, walk_items
from .items import Item, ItemFields, Part, one_each, stem_of
from .listing import Oddities, natural_key
from .reading import opened, read_many
from .zenodo import resolve_record

__all__ = [
    "Item",
    "ItemFields",
    "Oddities",
    "Part",
    "bucket_of",
    "cache_folder",
    "fetch",
    "list_items",
    "natural_key",
    "one_each",
    "one_uri",
    "opened",
    "read_many",
    "resolve_record",
    "resolve_uri",
    "stem_of",
    "uris_of",
    "urls_of",
    "walk_items",
]
