from . import ngff, ngff_channels, study
from .dataset_facts import collection_facts, image_facts
from .facts import ArrayHeader, CollectionFacts, Header, ImageFacts, facts_line, facts_of
from .study import Study

__all__ = [
    "ArrayHeader",
    "CollectionFacts",
    "Header",
    "ImageFacts",
    "Study",
    "collection_facts",
    "facts_line",
    "facts_of",
    "image_facts",
    "ngff",
    "ngff_channels",
    "study",
]
