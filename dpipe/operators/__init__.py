"""Operators: each turns a Dataset into a Dataset, lazily; this file is their table.

It knows names, versions and signatures. A version goes up when a change moves numbers: results
are found again by it. ``free`` names the dims along which a run may cut partitions.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import xarray as xr

from dpipe.errors import UsageError, unknown
from dpipe.operators import _user_code
from dpipe.operators.cell_features import cell_features
from dpipe.operators.channel_statistics import channel_statistics, channel_sums
from dpipe.operators.class_frequencies import class_frequencies
from dpipe.operators.clean_features import all_features, clean_features
from dpipe.operators.compensate import compensate
from dpipe.operators.consensus import consensus_phases, consensus_tracks
from dpipe.operators.density import cell_density
from dpipe.operators.derive_masks import derive_masks
from dpipe.operators.feature_statistics import feature_statistics, feature_sums
from dpipe.operators.gate import gate
from dpipe.operators.group_tests import group_tests
from dpipe.operators.mesh_masks import mesh_masks
from dpipe.operators.phase_tracks import phase_tracks
from dpipe.operators.picture_quality import picture_quality
from dpipe.operators.pictures import pictures
from dpipe.operators.projections import projections
from dpipe.operators.quality import frame_quality
from dpipe.operators.quality_table import quality_table
from dpipe.operators.rater_agreement import rater_agreement
from dpipe.operators.rescale_intensity import rescale_intensity
from dpipe.operators.sample_records import sample_records
from dpipe.operators.segment_cells import segment_cells
from dpipe.operators.split_movies import split_movies
from dpipe.operators.split_records import split_records
from dpipe.operators.surface_measures import surface_measures
from dpipe.operators.thumbnails import thumbnails
from dpipe.operators.track_checks import track_checks
from dpipe.operators.track_crops import track_crops
from dpipe.operators.track_measures import track_measures


@dataclass(frozen=True)
class Operator:
    """An operator as runs see it.

    Attributes
    ----------
    function : callable
        ``function(ds, ..., *, parameters) -> Dataset``.
    version : int
        Goes up when its numbers change.
    free : tuple of str
        Dims along which a run may cut partitions.
    makes : {"blocks", "table"}
        ``"blocks"`` are lazy; the rows of a ``"table"`` cannot be counted beforehand, so it is
        computed when the operator is called.
    guess : callable, optional
        As the function, but from inputs that are not made yet: for plans, where the size of the
        result depends on their values. What it returns is as large as the result may be.
    code : str
        Digest of the code of a user's own operator; "" for those of the table.
    packages : dict of str to str
        Installed packages that such code imports, with their versions.
    added : tuple of str
        Parameters that came after the first release: at their defaults fingerprints do not count
        them, so parts that were made before stay.
    """

    function: Callable[..., xr.Dataset]
    version: int
    free: tuple[str, ...] = ()
    makes: Literal["blocks", "table"] = "blocks"
    guess: Callable[..., xr.Dataset] | None = None
    code: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    added: tuple[str, ...] = ()


OPERATORS: dict[str, Operator] = {
    "cell-density": Operator(cell_density, version=2, free=("t", "c")),
    "cell-features": Operator(cell_features, version=3, free=("record",)),
    "channel-statistics": Operator(channel_statistics, version=2),
    "channel-sums": Operator(channel_sums, version=2, free=("block",)),
    "class-frequencies": Operator(class_frequencies, version=3, makes="table"),
    "clean-features": Operator(clean_features, version=1, free=("record",), guess=all_features),
    "compensate": Operator(compensate, version=2, free=("block",)),
    "consensus-phases": Operator(consensus_phases, version=1, makes="table"),
    "consensus-tracks": Operator(consensus_tracks, version=2, makes="table"),
    "derive-masks": Operator(derive_masks, version=1, free=("block",)),
    "feature-statistics": Operator(feature_statistics, version=2),
    "feature-sums": Operator(feature_sums, version=2),
    "frame-quality": Operator(frame_quality, version=1, free=("t", "c")),
    "gate": Operator(gate, version=1, free=("record",)),
    "group-tests": Operator(group_tests, version=2, makes="table"),
    "mesh-masks": Operator(mesh_masks, version=1, free=("t", "z")),
    "phase-tracks": Operator(phase_tracks, version=2, makes="table"),
    "picture-quality": Operator(picture_quality, version=1, free=("record",)),
    "pictures": Operator(pictures, version=1, free=("record",)),
    "projections": Operator(projections, version=1, free=("t", "c")),
    "quality-table": Operator(quality_table, version=1),
    "rater-agreement": Operator(rater_agreement, version=1, makes="table"),
    "rescale-intensity": Operator(rescale_intensity, version=2, free=("block",)),
    "sample-records": Operator(sample_records, version=2, makes="table"),
    "segment-cells": Operator(segment_cells, version=2, free=("block",)),
    "split-movies": Operator(split_movies, version=1, makes="table"),
    "split-records": Operator(split_records, version=2, makes="table"),
    "surface-measures": Operator(surface_measures, version=1),
    "thumbnails": Operator(thumbnails, version=1, free=("c",)),
    "track-checks": Operator(track_checks, version=1, makes="table"),
    "track-crops": Operator(track_crops, version=3, free=("event", "c")),
    "track-measures": Operator(track_measures, version=2),
}

_KINDS: dict[Any, str] = {xr.Dataset: "dataset", xr.DataTree: "tree"}
_KINDS |= {xr.Dataset | None: "dataset", xr.DataTree | None: "tree"}


def resolve(name: str) -> Operator:
    """Find an operator by its name, or import one of the user's own.

    Parameters
    ----------
    name : str
        A key of `OPERATORS`, or ``"package.module:function"``; that function may carry the
        attributes ``version`` (default 1) and ``free`` (default none).

    Returns
    -------
    Operator
        The operator.

    Raises
    ------
    UsageError
        No such name, module or function, or one that is no operator.

    Examples
    --------
    >>> resolve("thumbnails").free
    ('c',)
    """
    if ":" not in name:
        if name not in OPERATORS:
            raise UsageError(unknown("operator", name, OPERATORS))
        return OPERATORS[name]
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        raise UsageError(
            f"operator {name!r}: cannot import {module_name!r} ({type(error).__name__}: {error}); "
            "it must be installed, or its folder stand in PYTHONPATH"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UsageError(f"operator {name!r}: {unknown('function', attribute, known)}")
    version, free = getattr(function, "version", 1), getattr(function, "free", ())
    if isinstance(version, bool) or not isinstance(version, int):
        raise UsageError(f"operator {name!r}: version is {version!r}; expected a whole number")
    if isinstance(free, str) or not all(isinstance(dim, str) for dim in free):
        raise UsageError(f"operator {name!r}: free is {free!r}; expected a tuple of dims")
    try:
        code = _user_code.code_of(module)
    except ValueError as error:
        raise UsageError(f"operator {name!r}: {error}") from error
    operator = Operator(function, version, tuple(free), code=code.digest, packages=code.packages)
    inputs(operator)
    return operator


def inputs(operator: Operator) -> list[tuple[str, str]]:
    """Read from the signature what an operator takes.

    Parameters
    ----------
    operator : Operator
        Its positional parameters are annotated ``xr.Dataset`` or ``xr.DataTree``; those that may
        be left out, ``xr.Dataset | None = None`` or ``xr.DataTree | None = None``.

    Returns
    -------
    list of (str, str)
        Name and kind of each input: ``"dataset"`` (once per part) or ``"tree"`` (all parts).

    Raises
    ------
    UsageError
        It has no input that must be given first, or one with another annotation or default.

    Examples
    --------
    >>> inputs(OPERATORS["frame-quality"]), inputs(OPERATORS["quality-table"])
    ([('ds', 'dataset')], [('tree', 'tree')])
    """
    found: list[tuple[str, str]] = []
    for parameter in _signature(operator).parameters.values():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            if parameter.annotation not in _KINDS:
                raise UsageError(
                    f"{_name(operator)}: input {parameter.name!r} must be annotated xr.Dataset or "
                    "xr.DataTree; what is a parameter must stand behind a *"
                )
            may_lack = parameter.annotation not in (xr.Dataset, xr.DataTree)
            if may_lack != (parameter.default is None) or (may_lack and not found):
                raise UsageError(
                    f"{_name(operator)}: input {parameter.name!r}: one that may be left out is "
                    "annotated | None, has the default None, and is not the first"
                )
            found.append((parameter.name, _KINDS[parameter.annotation]))
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            raise UsageError(
                f"{_name(operator)}: {parameter} in its signature; expected plain names"
            )
    if not found:
        raise UsageError(f"{_name(operator)}: no input; expected a first parameter ds: xr.Dataset")
    return found


def optional(operator: Operator) -> set[str]:
    """Return the names of the inputs that may be left out.

    Examples
    --------
    >>> optional(OPERATORS["frame-quality"])
    set()
    """
    parameters = _signature(operator).parameters
    return {name for name, _ in inputs(operator) if parameters[name].default is None}


def _signature(operator: Operator) -> inspect.Signature:
    try:
        return inspect.signature(operator.function, eval_str=True)
    except (NameError, TypeError, ValueError) as error:
        raise UsageError(f"{_name(operator)}: cannot read its signature ({error})") from error


def _name(operator: Operator) -> str:
    return str(getattr(operator.function, "__name__", operator.function))
