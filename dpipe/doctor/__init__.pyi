from .annotations import Report, check_annotations, check_dataset
from .findings import KINDS, Example, Finding
from .repair import Change

__all__ = ["KINDS", "Change", "Example", "Finding", "Report", "check_annotations", "check_dataset"]
