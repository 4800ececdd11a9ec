"""What is there already of the parts that a step wants.

What the newest version names costs no request; for the rest the store is asked once, not once a
part.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dpipe import catalog, readers
from dpipe.build import marks, part_spec
from dpipe.build.part_layout import base_of
from dpipe.build.part_spec import PartSpec
from dpipe.build.recipe import Step
from dpipe.catalog import PartRef
from dpipe.catalog import seals as catalog_seals
from dpipe.errors import InputError, SchemaError
from dpipe.storage import Objects

_FEW = 16
"""Parts of which each is asked for; for more the folder of the dataset is listed."""
_PART = re.compile(r"parts/[^/]+/[^/]+-[0-9a-f]{12}(?=\.)")


@dataclass(frozen=True)
class Sealed:
    """Which of the wanted parts are there.

    Attributes
    ----------
    named : dict of str to PartRef
        By stem, those that the newest version names; with the fingerprint that is wanted.
    bases : set of str
        Others that are sealed: a run was stopped before it committed them.
    begun : set of str
        Those that were begun.
    new : set of str
        Those of which nothing is there, as far as that was looked at.
    """

    named: dict[str, PartRef] = field(default_factory=dict)
    bases: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    new: set[str] = field(default_factory=set)

    @classmethod
    def look(
        cls,
        objects: Objects,
        dataset: str,
        known: Mapping[str, PartRef],
        wanted: Sequence[tuple[str, PartSpec]],
    ) -> "Sealed":
        """Look for parts.

        Parameters
        ----------
        objects : Objects
            The store.
        dataset : str
            The dataset.
        known : mapping of str to PartRef
            By stem, the parts of its newest version.
        wanted : sequence of (str, PartSpec)
            Stem and origin of each.
        """
        found = cls()
        rest = []
        for stem, made in wanted:
            ref = known.get(stem)
            if ref is not None and _is_of(objects, ref, made):
                found.named[stem] = replace(ref, fingerprint=made.fingerprint)
            else:
                rest.append(base_of(dataset, stem, made.fingerprint))
        if len(rest) > _FEW:
            there = objects.below(f"parts/{dataset}/")
            prefix = f"parts/{dataset}/"
            seals = {entry.key.removesuffix(".json") for entry in there.objects}
            begun = {prefix + name.removesuffix(".marks") for name in there.folders}
            found.bases.update(base for base in rest if base in seals)
            found.begun.update(base for base in rest if base in begun)
            keys = [*(e.key for e in there.objects), *(prefix + name for name in there.folders)]
            some = {match[0] for key in keys if (match := _PART.match(key))}
            found.new.update(base for base in rest if base not in some)
        else:
            safe = [base for base in rest if base.isprintable()]
            found.new.update(
                b for b in safe if not any(True for _ in catalog_seals.beside(objects, b))
            )
            old = [base for base in safe if base not in found.new]
            found.bases.update(b for b in old if objects.exists(catalog_seals.key_of(b)))
            left = [b for b in old if b not in found.bases]
            found.begun.update(b for b in left if objects.exists(marks.init_key(b)))
        return found


def _is_of(objects: Objects, ref: PartRef, made: PartSpec) -> bool:
    """Tell whether a part is the one wanted, or one of an earlier dpipe that is alike."""
    if ref.fingerprint == made.fingerprint:
        return True
    if not part_spec.is_older(ref.fingerprint, made):
        return False
    if made.kind != "reader":
        return True  # the code of a user was not recorded then
    reader = readers.resolve(made.name)
    if reader.alike is None:
        return False
    try:
        sealed = catalog_seals.open_named(objects, ref)
        return reader.alike(sealed, lambda: part_spec.read(made))
    except (InputError, SchemaError):  # refused today: the plan says why
        return False


def why_made(step: Step, stem: str, made: PartSpec, parent: catalog.Version | None) -> str:
    """Say why a part is made: it is new, or what changed."""
    if parent is None or stem not in parent.parts.by_stem:
        return "new"
    before, now = parent.recipe, json.loads(json.dumps(step.to_dict(), default=str))
    if made.code and before.get("code", "") not in ("", made.code):
        return f"the code of {made.name} changed"
    fingerprint = parent.parts.by_stem[stem].fingerprint
    earlier = (replace(made, version=version) for version in range(1, made.version))
    if any(fingerprint == each.fingerprint for each in earlier):
        return f"the {made.kind} {made.name} has a new version"
    old, new = before.get("params", {}), now.get("params", {})
    if old != new and old.items() <= new.items():
        return f"the {made.kind} {made.name} has new parameters"
    changed = [
        words
        for key, words in _CHANGES.items()
        if before.get(key) != now.get(key) and key in {**before, **now}
    ]
    if changed:
        return f"{' and '.join(changed)} changed"
    return "its source changed" if made.kind == "reader" else "its inputs changed"


_CHANGES = {
    "reader": "the reader",
    "operator": "the operator",
    "params": "parameters",
    "said": "what is set",
    "levels": "levels",
}
