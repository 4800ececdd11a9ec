"""Masks made of the masks of channels: where two meet, what lies around one.

It knows unions, intersections, complements and dilations. It does not know what the masks mean.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_blocks, namespace
from dpipe.errors import UsageError
from dpipe.operators.pictures.mask_terms import Term, parse
from dpipe.operators.pictures.packed import code_dtype, layout, mask_names, pieces, places


def derive_masks(ds: xr.Dataset, *, masks: Mapping[str, str]) -> xr.Dataset:
    """Make further masks of those that are there.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection with masks, or any selection of its records; pixels are not needed.
    masks : mapping of str to str
        By the name of a new mask, what it is: names of masks, ``&`` (in both), ``|`` (in one of
        them), ``~`` (not in it), brackets, and ``dilate(mask, n)``: all pixels at most n from it.
        For example ``{"synapse": "dilate(CD3 & MHCII, 3)"}``. A name that is no Python name
        stands in quotes: ``"CD3 & 'P-CD3zeta'"``. A mask may name those before it.

    Returns
    -------
    xarray.Dataset
        Lazy ``mask_code(block, place)`` laid out as that of `ds`, with its coordinates: the bits
        that were there, then one for each new mask, as the coordinate ``mask_name(mask)`` says.
        The dtype grows with their number; pictures that are not in the selection are 0.

    Raises
    ------
    SchemaError
        No packed collection with masks.
    UsageError
        A text that cannot be read, an unknown or repeated name, more than 32 masks.

    Notes
    -----
    A mask is where it is not 0, whatever the value. ``&`` binds more tightly than ``|``, and ``~``
    more than both. Dilation is by a disk: every
    pixel whose centre is at most n from that of one in the mask, within the picture. Where a
    picture has no mask, ``~`` is true everywhere.

    Examples
    --------
    >>> coords = {"c": ["CD3", "MHCII"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [1]), "width": ("record", [5])}
    >>> codes = np.array([[1, 3, 2, 0, 0]], "u1")
    >>> packed = xr.Dataset({"mask_code": (("block", "place"), codes)}, coords)
    >>> made = derive_masks(packed, masks={"synapse": "dilate(CD3 & MHCII, 1)"})
    >>> made.mask_name.values.tolist(), made.mask_code.values.tolist()
    (['CD3', 'MHCII', 'synapse'], [[5, 7, 6, 0, 0]])
    """
    coords = layout(ds)
    schema.MASK_CODE.check(ds)
    names = mask_names(ds)
    if not isinstance(masks, Mapping) or not masks:
        raise UsageError(f"masks: found {masks!r}; expected new names and what each mask is")
    terms: dict[str, Term] = {}
    for name, text in masks.items():
        if not isinstance(name, str) or not name.strip() or name in names:
            raise UsageError(f"masks: {name!r}; expected a new name. There are {', '.join(names)}")
        terms[name] = parse(text, [*names, *terms])
    every = [*names, *terms]
    dtype = np.result_type(code_dtype(len(every)), ds["mask_code"].dtype)
    code = map_blocks(
        _derive,
        ds,
        sizes={"place": places(ds)},
        dtype=dtype,
        need=("mask_code",),
        terms=tuple(terms.values()),
        first=len(names),
        kind=dtype.name,
    )
    named = xr.DataArray(np.array(every, dtype=str), dims="mask")
    return xr.Dataset(schema.MASK_CODE.wrap(code), coords=coords | schema.MASK_NAME.wrap(named))


def _derive(
    _: Any,
    codes: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    terms: tuple[Term, ...],
    first: int,
    kind: str,
) -> Any:
    xp = namespace(codes)
    dtype = getattr(xp, kind)
    out = xp.zeros(codes.shape, dtype=dtype, **beside(codes))
    for place, shape in pieces(offsets, heights, widths):
        full = xp.astype(xp.reshape(codes[place], shape), dtype)
        for k, term in enumerate(terms, first):  # each may name those before it
            bit = xp.asarray(1 << k, dtype=dtype, **beside(codes))
            full = full | xp.where(term(full), bit, xp.zeros_like(bit))
        out[place] = xp.reshape(full, (-1,))
    return out
