"""Parts of a plan that are in the store already: sealed, begun, or not at all.

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
from dpipe.catalog import PartRef, opening
from dpipe.catalog import seals as catalog_seals
from dpipe.errors import InputError, SchemaError
from dpipe.storage import Objects

_FEW = 16
"""Parts of which each is asked for; for more the folder of the dataset is listed."""
_PART = re.compile(r"parts/[^/]+/[^/]+-[0-9a-f]{12}(?=\.)")


@dataclass(frozen=True)
class Sealed:
    """The parts of a plan that are in the store already.

    Attributes
    ----------
    named : dict of str to PartRef
        By stem, those that the newest version names; with the fingerprint of the plan.
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
        refs: Mapping[str, PartRef],
        specs: Sequence[tuple[str, PartSpec]],
    ) -> "Sealed":
        """Look for parts.

        Parameters
        ----------
        objects : Objects
            The store.
        dataset : str
            The dataset.
        refs : mapping of str to PartRef
            By stem, the parts of its newest version.
        specs : sequence of (str, PartSpec)
            Stem and spec of each part of the plan.
        """
        parts = cls()
        bases = []
        for stem, spec in specs:
            ref = refs.get(stem)
            if ref is not None and _is_of(objects, ref, spec):
                parts.named[stem] = replace(ref, fingerprint=spec.fingerprint)
            else:
                bases.append(base_of(dataset, stem, spec.fingerprint))
        if len(bases) > _FEW:
            prefix = f"parts/{dataset}/"
            below = objects.below(prefix)
            seals = {entry.key.removesuffix(".json") for entry in below.objects}
            begun = {prefix + name.removesuffix(".marks") for name in below.folders}
            parts.bases.update(base for base in bases if base in seals)
            parts.begun.update(base for base in bases if base in begun)
            keys = [*(e.key for e in below.objects), *(prefix + name for name in below.folders)]
            stored = {match[0] for key in keys if (match := _PART.match(key))}
            parts.new.update(base for base in bases if base not in stored)
        else:
            safe = [base for base in bases if base.isprintable()]
            parts.new.update(
                b for b in safe if not any(True for _ in catalog_seals.beside(objects, b))
            )
            old = [base for base in safe if base not in parts.new]
            parts.bases.update(b for b in old if objects.exists(catalog_seals.key_of(b)))
            unsealed = [b for b in old if b not in parts.bases]
            parts.begun.update(b for b in unsealed if objects.exists(marks.init_key(b)))
        return parts


def _is_of(objects: Objects, ref: PartRef, spec: PartSpec) -> bool:
    """Tell whether a part is that of a spec, or one of an earlier dpipe that is alike."""
    if ref.fingerprint == spec.fingerprint:
        return True
    if not part_spec.is_older(ref.fingerprint, spec):
        return False
    if spec.kind != "reader":
        return True  # the code of a user was not recorded then
    reader = readers.resolve(spec.name)
    if reader.alike is None:
        return False
    try:
        sealed = opening.open_named(objects, ref)
        return reader.alike(sealed, lambda: part_spec.read(spec))
    except (InputError, SchemaError):  # refused today: the plan says why
        return False


def why_made(step: Step, stem: str, spec: PartSpec, parent: catalog.Version | None) -> str:
    """Return the reason why a part is made: it is new, or something changed."""
    if parent is None or stem not in parent.parts.by_stem:
        return "new"
    before, now = parent.recipe, json.loads(json.dumps(step.to_dict(), default=str))
    if spec.code and before.get("code", "") not in ("", spec.code):
        return f"the code of {spec.name} changed"
    fingerprint = parent.parts.by_stem[stem].fingerprint
    earlier = (replace(spec, version=version) for version in range(1, spec.version))
    if any(fingerprint == older.fingerprint for older in earlier):
        return f"the {spec.kind} {spec.name} has a new version"
    old, new = before.get("params", {}), now.get("params", {})
    if old != new and old.items() <= new.items():
        return f"the {spec.kind} {spec.name} has new parameters"
    changed = [
        words
        for key, words in _CHANGES.items()
        if before.get(key) != now.get(key) and key in {**before, **now}
    ]
    if changed:
        return f"{' and '.join(changed)} changed"
    return "its source changed" if spec.kind == "reader" else "its inputs changed"


_CHANGES = {
    "reader": "the reader",
    "operator": "the operator",
    "params": "parameters",
    "said": "what is set",
    "levels": "levels",
}
