from . import ngff, ngff_channels, study
from .study import Study, collection_facts, facts_line, image_facts

__all__ = [
    "Study",
    "collection_facts",
    "facts_line",
    "image_facts",
    "ngff",
    "ngff_channels",
    "study",
]
