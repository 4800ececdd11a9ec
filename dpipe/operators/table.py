"""Operators: each turns a Dataset into a Dataset, lazily; this file is their table.

It knows names, versions and signatures. A version goes up when a change moves numbers: results
are found again by it. ``free`` names the dims along which a run may cut partitions.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import xarray as xr

from dpipe.errors import UsageError
from dpipe.plugins import Later, find


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


def _later(name: str) -> Later:
    return Later(f"dpipe.operators.{name}")


OPERATORS: dict[str, Operator] = {
    "average-precision": Operator(
        _later("annotations.average_precision:average_precision"), version=1, makes="table"
    ),
    "cell-density": Operator(_later("frames.density:cell_density"), version=2, free=("t", "c")),
    "cell-features": Operator(
        _later("cell_features.features:cell_features"), version=3, free=("record",)
    ),
    "channel-statistics": Operator(
        _later("pictures.channel_statistics:channel_statistics"), version=2
    ),
    "channel-sums": Operator(
        _later("pictures.channel_statistics:channel_sums"), version=2, free=("block",)
    ),
    "class-frequencies": Operator(
        _later("tables.class_frequencies:class_frequencies"), version=3, makes="table"
    ),
    "clean-features": Operator(
        _later("tables.clean_features:clean_features"),
        version=1,
        free=("record",),
        guess=_later("tables.clean_features:all_features"),
    ),
    "compensate": Operator(_later("pictures.compensate:compensate"), version=2, free=("block",)),
    "consensus-phases": Operator(
        _later("tracks.consensus:consensus_phases"), version=1, makes="table"
    ),
    "consensus-tracks": Operator(
        _later("tracks.consensus:consensus_tracks"), version=2, makes="table"
    ),
    "derive-masks": Operator(
        _later("pictures.derive_masks:derive_masks"), version=1, free=("block",)
    ),
    "feature-statistics": Operator(
        _later("tables.feature_statistics:feature_statistics"), version=2
    ),
    "feature-sums": Operator(_later("tables.feature_statistics:feature_sums"), version=2),
    "flatten-background": Operator(
        _later("pictures.flatten:flatten_background"), version=1, free=("block",)
    ),
    "frame-quality": Operator(_later("frames.quality:frame_quality"), version=1, free=("t", "c")),
    "gate": Operator(_later("tables.gate:gate"), version=1, free=("record",)),
    "group-tests": Operator(_later("tables.group_tests:group_tests"), version=2, makes="table"),
    "mask-polygons": Operator(
        _later("annotations.mask_polygons:mask_polygons"), version=1, makes="table"
    ),
    "mesh-masks": Operator(_later("surfaces.masks:mesh_masks"), version=1, free=("t", "z")),
    "normalise": Operator(_later("pictures.normalise:normalise"), version=1, free=("block",)),
    "object-counts": Operator(
        _later("annotations.object_counts:object_counts"), version=1, makes="table"
    ),
    "object-crops": Operator(
        _later("annotations.object_crops:object_crops"), version=1, makes="table"
    ),
    "object-measures": Operator(
        _later("annotations.object_measures:object_measures"), version=1, makes="table"
    ),
    "phase-tracks": Operator(_later("tracks.phases:phase_tracks"), version=2, makes="table"),
    "picture-quality": Operator(
        _later("pictures.quality:picture_quality"), version=1, free=("record",)
    ),
    "pictures": Operator(_later("pictures.pictures:pictures"), version=1, free=("record",)),
    "polygon-masks": Operator(
        _later("annotations.polygon_masks:polygon_masks"), version=1, free=("block",)
    ),
    "projections": Operator(_later("frames.projections:projections"), version=1, free=("t", "c")),
    "quality-table": Operator(_later("frames.quality_table:quality_table"), version=1),
    "rater-agreement": Operator(
        _later("tables.rater_agreement:rater_agreement"), version=1, makes="table"
    ),
    "rescale-intensity": Operator(
        _later("pictures.rescale:rescale_intensity"), version=2, free=("block",)
    ),
    "sample-records": Operator(
        _later("tables.sample_records:sample_records"), version=2, makes="table"
    ),
    "segment-cells": Operator(_later("pictures.segment:segment_cells"), version=2, free=("block",)),
    "semantic-scores": Operator(
        _later("annotations.semantic_scores:semantic_scores"), version=1, makes="table"
    ),
    "split-movies": Operator(_later("tables.split_movies:split_movies"), version=1, makes="table"),
    "split-records": Operator(
        _later("tables.split_records:split_records"), version=2, makes="table"
    ),
    "surface-measures": Operator(_later("surfaces.measures:surface_measures"), version=1),
    "thumbnails": Operator(_later("frames.thumbnails:thumbnails"), version=1, free=("c",)),
    "track-checks": Operator(_later("tracks.checks:track_checks"), version=1, makes="table"),
    "track-crops": Operator(
        _later("crops.track_crops:track_crops"), version=3, free=("event", "c")
    ),
    "track-measures": Operator(_later("tracks.measures:track_measures"), version=2),
}

_KINDS: dict[Any, str] = {xr.Dataset: "dataset", xr.DataTree: "tree"}
_KINDS |= {xr.Dataset | None: "dataset", xr.DataTree | None: "tree"}


def resolve(name: str) -> Operator:
    """Find an operator by its name, or import one of the user's own.

    Parameters
    ----------
    name : str
        A key of `OPERATORS`, ``"package.module:function"``, or an entry point of the group
        ``dpipe.operators``; that function may carry the attributes ``version`` (default 1) and
        ``free`` (default none).

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
    if name in OPERATORS:
        return OPERATORS[name]
    entry = find("operator", name, OPERATORS)
    function = entry.value
    if not callable(function):
        raise UsageError(f"{entry.label}: found a {type(function).__name__}; expected a function")
    version, free = getattr(function, "version", 1), getattr(function, "free", ())
    if isinstance(version, bool) or not isinstance(version, int):
        raise UsageError(f"{entry.label}: version is {version!r}; expected a whole number")
    if isinstance(free, str) or not all(isinstance(dim, str) for dim in free):
        raise UsageError(f"{entry.label}: free is {free!r}; expected a tuple of dims")
    operator = Operator(function, version, tuple(free), code=entry.code, packages=entry.packages)
    try:
        inputs(operator)
    except UsageError as error:
        raise UsageError(f"{entry.label}: {error}") from error
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
    roles: list[tuple[str, str]] = []
    for parameter in _signature(operator).parameters.values():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            if parameter.annotation not in _KINDS:
                raise UsageError(
                    f"{_name(operator)}: input {parameter.name!r} must be annotated xr.Dataset or "
                    "xr.DataTree; what is a parameter must stand behind a *"
                )
            may_lack = parameter.annotation not in (xr.Dataset, xr.DataTree)
            if may_lack != (parameter.default is None) or (may_lack and not roles):
                raise UsageError(
                    f"{_name(operator)}: input {parameter.name!r}: one that may be left out is "
                    "annotated | None, has the default None, and is not the first"
                )
            roles.append((parameter.name, _KINDS[parameter.annotation]))
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            raise UsageError(
                f"{_name(operator)}: {parameter} in its signature; expected plain names"
            )
    if not roles:
        raise UsageError(f"{_name(operator)}: no input; expected a first parameter ds: xr.Dataset")
    return roles


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
