from . import heartbeat, opening, seals, version_files
from .commits import add, commit
from .display import Row, row, study_lines, text
from .heartbeat import Heartbeat, beating
from .part_facts import part_facts
from .provenance import InputFields, Provenance, SpecFields, input_fields, provenance
from .refs import PartRef, PicturesAside, Summary
from .version_files import Draft, History, PutAside, StepFields, Version
from .versions import (
    by_stem,
    check_name,
    history,
    lineage,
    listing,
    names,
    newest,
    open_store,
    resolve,
    same_parts,
)

__all__ = [
    "Draft",
    "Heartbeat",
    "History",
    "InputFields",
    "PartRef",
    "PicturesAside",
    "Provenance",
    "PutAside",
    "Row",
    "SpecFields",
    "StepFields",
    "Summary",
    "Version",
    "add",
    "beating",
    "by_stem",
    "check_name",
    "commit",
    "heartbeat",
    "history",
    "input_fields",
    "lineage",
    "listing",
    "names",
    "newest",
    "open_store",
    "opening",
    "part_facts",
    "provenance",
    "resolve",
    "row",
    "same_parts",
    "seals",
    "study_lines",
    "text",
    "version_files",
]
