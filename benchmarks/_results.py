"""The file of results: one section a script, each replaced by the script that measured it."""

import re
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = "# What `make bench` found\n"


def write(title: str, text: str) -> None:
    """Put a section in place of the one of the same title, or at the end."""
    held = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else HEAD
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", held, re.MULTILINE))
    sections[title] = f"\n{text.strip()}\n\n"
    body = "".join(f"\n## {name}\n\n{said.strip()}\n" for name, said in sections.items())
    RESULTS.write_text(HEAD + body, encoding="utf-8")
