from . import lineage, marks, parameters, part_spec, parts, plan, run, source_digests
from .outcome import AGAIN, BUG, DONE, SOME_ASIDE, TOO_MANY, Outcome, StepOutcome, allowed
from .part_layout import PartLayout, base_of, lay_out
from .part_spec import PartSpec, check_unchanged, lazy, note_rest
from .pictures_aside import unreadable
from .recipe import Recipe, load_recipe, operator_step, reader_step, typed
from .recipe_choice import chosen_recipe
from .run import run_recipe

__all__ = [
    "AGAIN",
    "BUG",
    "DONE",
    "SOME_ASIDE",
    "TOO_MANY",
    "Outcome",
    "PartLayout",
    "PartSpec",
    "Recipe",
    "StepOutcome",
    "allowed",
    "base_of",
    "check_unchanged",
    "chosen_recipe",
    "lay_out",
    "lazy",
    "lineage",
    "load_recipe",
    "marks",
    "note_rest",
    "operator_step",
    "parameters",
    "part_spec",
    "parts",
    "plan",
    "reader_step",
    "run",
    "run_recipe",
    "source_digests",
    "typed",
    "unreadable",
]
