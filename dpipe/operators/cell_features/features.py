"""Numbers measured on packed pictures of cells: scifAI's nine families, HOG, and corrected ones.

It knows which families there are, what they are called and what they need. How each is computed
is in its neighbours: ``_cell_*.py`` on the CPU, ``_batch*.py`` on any kind of array.
"""

from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, compute, map_records, map_rows, namespace
from dpipe.errors import SchemaError, UsageError, unknown
from dpipe.operators.cell_features import columns
from dpipe.operators.cell_features import mask_values as cell_features_mask_values
from dpipe.operators.cell_features.cpu import measure as cpu_measure
from dpipe.operators.cell_features.gpu import measure as gpu_measure
from dpipe.operators.pictures.mask_terms import Term, parse
from dpipe.operators.pictures.packed import covered, mask_names, pieces

NINE = columns.NINE
"""The families of scifAI, HOG apart, in its order: 858 numbers of 6 channels, 1,584 of 8."""
_WITHOUT_MASK = ("glcm", "gradient-rms", "percentiles", "hog")
_KINDS = ("uint8", "uint16", "float32", "float64")


def cell_features(
    ds: xr.Dataset,
    masks: xr.Dataset | None = None,
    *,
    families: str | Sequence[str] = NINE,
    inside: str | None = None,
    data_range: float = 4095.0,
    mask_values: Literal["scifai", "union"] = "scifai",
) -> xr.Dataset:
    """Measure each picture of a collection: names and values are those of scifAI [1]_.

    With x the picture of a channel, m its mask, and x m the product:

    - ``mask-based``: scikit-image's region properties of the mask [2]_; -1 without one.
    - ``glcm``: Haralick's six [3]_ of pairs five columns apart, of x over its maximum in 256
      levels. An empty channel counts as level 0, a picture of five columns as without contrast.
    - ``gradient-rms``: root mean square of Sobel's slope of x.
    - ``background-mean``: mean of the pixels above 0 outside the mask, NaN for none.
    - ``percentiles``: deciles of x.
    - ``cell-shape``: area of m, and sum, mean, standard deviation, kurtosis, skewness, extremes
      and entropy of the pixels of x m above 0; zeros for none.
    - ``colocalisation``: distances of Dice and Jaccard of the masks; of both orders of each two
      channels, over all pixels of x m: correlation distance, Euclid's, sum a sum b / (sum a^2
      sum b^2), pixels above both means over the number of *rows* less 1/2, structural similarity
      (7 x 7, data range 2), and Hausdorff's distance.
    - ``intersections``: sum, mean and maximum of x m where two masks meet, over its sum, its mean
      and again its mean over the whole picture.
    - ``cell-distances``: distances of the centroids, plain and weighted; -1 without both.
    - ``hog`` (not among the nine): histograms of oriented gradients [4]_ of x at 64 x 64: 5 x 5
      cells of 8 orientations, L2-Hys.

    Where scifAI's numbers are not what their names say, others stand beside them:

    - ``glcm-corrected``: ``glcm_*``, the same with NaN for an empty channel or one without pairs;
      ``glcm_cell_*``, of pairs inside the mask, both ways, the mean of four directions, at x over
      its maximum in the mask.
    - ``colocalisation-corrected`` of channels a < b: ``manders_m1``, ``_m2``, the share of the
      sum of one that lies in the mask of the other, and ``manders_overlap`` [5]_;
      ``pearson_correlation`` and ``li_intensity_correlation_quotient`` [6]_ of x over the pixels
      of either mask; ``ranged_structural_similarity``, of x m with `data_range`.
    - ``intersections-corrected``: ``shared_sum_ratio``; ``shared_mean_ratio``, of means over the
      pixels of the masks; ``shared_max_ratio``, of maxima. NaN for nothing.

    Parameters
    ----------
    ds : xarray.Dataset
        A packed collection with masks, or pictures of one size.
    masks : xarray.Dataset, optional
        Masks that take the place of those of `ds`: what ``segment-cells`` made of it, or the
        collection itself where `ds` are pixels that ``compensate`` made of it.
    families : str or sequence of str
        Which, in the order of the columns; by default the nine.
    inside : str, optional
        One mask for all channels instead of each its own, as ``derive-masks`` writes it, such as
        ``dilate(CD3 & MHCII, 3)``; names of columns then end in ``_inside``. Packed pictures only.
    data_range : float
        The largest value that a pixel can have, 4,095 for 12 bits, for
        ``ranged_structural_similarity``.
    mask_values : {"scifai", "union"}
        What masks of several values count, such as a cell and a piece beside it. "scifai": what
        its code makes of them (see the notes). "union": everything that is not 0, whatever it is.

    Returns
    -------
    xarray.Dataset
        Lazy ``feature(record, name)`` with the coordinate ``family(name)`` and what is known of
        each record. Channels are counted from 1. Pictures that were put aside are NaN. Where
        masks of several values can be, ``values_in_mask(record)`` says how many values besides 0
        each has, 0 for those of one; ``attrs["notes"]`` counts these pictures, if that is known.

    Raises
    ------
    SchemaError
        No collection, or one without masks for a family that needs them.
    UsageError
        An unknown family, a mask that cannot be read, or a data range that is none.

    Notes
    -----
    As in scifAI correlation is NaN for constant channels, Hausdorff's distance infinite if one of
    two channels is empty, similarity NaN for pictures of less than 7 pixels (there such a picture
    is left out). The orientation of a shape without a longer axis is that of exact arithmetic,
    -pi/4 or pi/4, and so is the sign of pi/2; scikit-image's follow the noise of rounding, as do
    the width of a line (0 here, 1e-7 there) and, at 16 bits, the sixth digit of similarities. In
    pictures of fractions rounding also decides whether a channel is constant, but for zeros, and
    into which bin of HOG a gradient on a border falls.

    A mask of one value counts where it is not 0, whatever that value is. Of one of several values,
    which its collection flags, scifAI takes shapes and centroids of the least value above 0, and
    multiplies pixels by the values in all else: x m is a product, an area the sum of the values,
    Dice's distance that of numbers, and ratios are weighed by products of two masks, which overflow
    as their dtype does. The background is where it is 0, and so are Jaccard's sets (as in SciPy
    since 1.15) and what Hausdorff's distance is of. The corrected families take everything that is
    not 0, and so do all other operators.
    Pixels are uint8, uint16 or floats; others are made float64. All families run where the blocks
    are, none falls back to the host. Kernels for the CPU are compiled once and cached.

    References
    ----------
    .. [1] S. Shetab Boushehri, K. Essig et al., Nature Communications 14 (2023) 7888.
    .. [2] S. van der Walt et al., PeerJ 2 (2014) e453.
    .. [3] R. M. Haralick et al., IEEE Trans. Systems, Man and Cybernetics 3 (1973) 610-621.
    .. [4] N. Dalal, B. Triggs, Proc. IEEE CVPR 2005, 886-893.
    .. [5] E. M. M. Manders et al., J. Microscopy 169 (1993) 375-382.
    .. [6] Q. Li et al., J. Neuroscience 24 (2004) 4070-4081.

    Examples
    --------
    >>> coords = {"c": ["BF"], "block": [0], "in_block": ("record", [0]),
    ...           "in_slot": ("record", [0]), "offset": ("record", [0]),
    ...           "height": ("record", [2]), "width": ("record", [3])}
    >>> rows = {"pixels": (("block", "value"), np.array([[5, 7, 1, 2, 3, 4]], "u2")),
    ...         "mask_code": (("block", "place"), np.array([[1, 1, 0, 0, 0, 0]], "u1"))}
    >>> cells = xr.Dataset(rows, coords)
    >>> table = cell_features(cells, families="cell-shape").feature
    >>> table.sel(name=["Area_Ch1", "sum_intensity_Ch1"]).values.tolist()
    [[2.0, 12.0]]
    """
    chosen = _chosen(families)
    if not isinstance(data_range, Real) or not 0 < data_range < float("inf"):
        raise UsageError(f"data_range: found {data_range!r}; expected a number above 0")
    if "c" not in ds.sizes and "c" not in ds.coords:
        raise SchemaError("a collection needs the coordinate c, the names of its channels")
    ds, channels = covered(ds, masks), int(ds.sizes["c"])
    masked = [family for family in chosen if family not in _WITHOUT_MASK]
    if masked and not {"mask_code", "mask"} & set(ds.data_vars):
        raise SchemaError(
            f"{', '.join(masked)} need masks; found neither mask_code nor mask: segment first, or "
            f"choose among {', '.join(_WITHOUT_MASK)}"
        )
    if mask_values not in ("scifai", "union"):
        raise UsageError(f"mask_values: found {mask_values!r}; expected scifai or union")
    term = None
    if inside is not None:
        schema.MASK_CODE.check(ds)
        term = parse(inside, mask_names(ds))
    several = "mask_pixels" in ds and "pixels" in ds and bool(masked)
    valued = ("mask_pixels",) if several and term is None and mask_values == "scifai" else ()
    table = map_records(
        _features,
        ds,
        need=("pixels", "mask_code", *valued),
        names=[name + ("_inside" if term else "") for name in columns.names(chosen, channels)],
        channels=channels,
        families=chosen,
        inside=term,
        data_range=float(data_range),
    )
    owners = [family for family in chosen for _ in range(columns.count(family, channels))]
    family = schema.FEATURE_FAMILY.wrap(xr.DataArray(np.array(owners, dtype=str), dims="name"))
    result = xr.Dataset(schema.FEATURE.wrap(table)).assign_coords(family)
    return result.assign(_several(ds, channels)).assign_attrs(_noted(ds)) if several else result


def _several(ds: xr.Dataset, channels: int) -> dict[str, xr.DataArray]:
    """Count the values of each picture's mask, where there are several."""
    counted = map_rows(
        cell_features_mask_values.count,
        ds,
        sizes={"figure": 1},
        dtype="u4",
        need=("mask_pixels",),
        channels=channels,
    )
    return schema.VALUES_IN_MASK.wrap(counted.isel(figure=0, drop=True))


def _noted(ds: xr.Dataset) -> dict[str, Any]:
    """Return a note on pictures with masks of several values, where their flags are in memory."""
    flags = ds.get(schema.PICTURE_FLAG.name)
    if flags is None or (flags.chunks and "chunks" not in flags.encoding):
        return {}  # of a folder that is just being read: to know it all would be read
    (flag_rows,) = compute(flags.data)
    rows = ds["block"].to_index().get_indexer(ds["in_block"].to_index())
    count = int(((flag_rows[rows, ds["in_slot"].values] & schema.SEVERAL_VALUES) != 0).sum())
    total = ds.sizes["record"]
    return {"notes": [f"{count} of {total} pictures have masks of several values"]} if count else {}


def _chosen(families: str | Sequence[str]) -> tuple[str, ...]:
    names = (families,) if isinstance(families, str) else tuple(families)
    for family in names:
        if family not in columns.FAMILIES:
            raise UsageError(unknown("family", str(family), columns.FAMILIES))
    if not names or len(set(names)) != len(names):
        raise UsageError(f"families: found {list(names)}; expected at least one, each once")
    return names


def _features(
    pixels: Any,
    codes: Any,
    offsets: Any,
    heights: Any,
    widths: Any,
    *,
    channels: int,
    families: Sequence[str],
    data_range: float,
    inside: Term | None = None,
    valued: Any = None,
    several: np.ndarray | None = None,
) -> Any:
    """Measure the pictures of one block, (pictures, names)."""
    xp = namespace(pixels)
    offset, height, width = (np.asarray(v, np.int64) for v in (offsets, heights, widths))
    if pixels.dtype not in [getattr(xp, kind) for kind in _KINDS]:
        pixels = xp.astype(pixels, xp.float64)
    if codes is None:
        size = int((offset + height * width).max())
        codes = xp.zeros(size, dtype=xp.uint8, **beside(pixels))
    _check(offset, height, width, pixels.shape[0] // channels, codes.shape[0])
    if inside is not None:
        codes = _one_mask(codes, (offset, height, width), inside, (1 << channels) - 1)
    kernels = cpu_measure if isinstance(pixels, np.ndarray) else gpu_measure
    packed = pixels, codes, offset, height, width
    options: dict[str, Any] = {"channels": channels, "families": families, "data_range": data_range}
    if valued is None or several is None:
        return kernels.measure(*packed, **options)
    return cell_features_mask_values.measure(kernels.measure, packed, valued, several, **options)


def _one_mask(codes: Any, where: tuple[np.ndarray, ...], inside: Term, every: int) -> Any:
    """Give all channels the same mask."""
    xp = namespace(codes)
    out = xp.zeros_like(codes)
    bits = xp.asarray(every, dtype=codes.dtype, **beside(codes))
    for place, shape in pieces(*where):
        mask = inside(xp.reshape(codes[place], shape))
        out[place] = xp.reshape(xp.where(mask, bits, xp.zeros_like(bits)), (-1,))
    return out


def _check(
    offset: np.ndarray, height: np.ndarray, width: np.ndarray, places: int, codes: int
) -> None:
    """Refuse pictures that do not lie in their block: kernels look no further."""
    ends = offset + height * width
    if min(offset.min(), height.min(), width.min()) < 0 or ends.max() > min(places, codes):
        raise SchemaError(
            f"a picture ends at place {int(ends.max())} of a block of {places} pixels a channel, "
            f"{codes} codes; the collection's offset, height and width do not fit its pixels"
        )
