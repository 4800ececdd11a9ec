from . import heartbeat, seals, version_files
from .commits import add, commit
from .display import row, study_lines, text
from .heartbeat import Heartbeat, beating
from .provenance import provenance
from .refs import PartRef
from .version_files import History, PutAside, Version
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
    "Heartbeat",
    "History",
    "PartRef",
    "PutAside",
    "Version",
    "add",
    "beating",
    "by_stem",
    "check_name",
    "commit",
    "heartbeat",
    "history",
    "lineage",
    "listing",
    "names",
    "newest",
    "open_store",
    "provenance",
    "resolve",
    "row",
    "same_parts",
    "seals",
    "study_lines",
    "text",
    "version_files",
]
