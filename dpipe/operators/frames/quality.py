"""Quality of single frames: signal to noise, contrast, saturation, focus, and a verdict.

It knows the formulas of the Leuko-Death study, from its paper and from its published code, and
says which is which. It does not know where frames come from or what a verdict leads to.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from dpipe import schema
from dpipe.compute import beside, map_frames, namespace
from dpipe.errors import UsageError
from dpipe.operators.frames.median import median as median_filter
from dpipe.operators.frames.projection_kernel import normalised_projection
from dpipe.operators.frames.sums import FrameSums, frame_sums
from dpipe.operators.frames.wiener import wiener as wiener_filter
from dpipe.operators.parameters import check_number, check_whole

REASONS = ("low_snr", "saturated", "empty", "identical", "out_of_focus", "missing_planes")
"""Meanings of the bits 1, 2, 4, 8, ... of ``quality_reason``."""

_FIGURES = (
    schema.FRAME_SNR,
    schema.FRAME_PSNR,
    schema.FRAME_SNR_WIENER,
    schema.FRAME_CONTRAST_TO_NOISE,
    schema.FRAME_SPECTRAL_TAIL,
    schema.FRAME_MEAN,
    schema.FRAME_SATURATED,
    schema.FRAME_FOCUS,
    schema.FRAME_EMPTY_PLANES,
)


def frame_quality(
    ds: xr.Dataset,
    *,
    image: str = "image",
    median: int = 5,
    wiener: int = 10,
    full_scale: float | None = None,
    min_snr: float = 5.0,
    fail_snr: float = 0.0,
    max_saturated: float = 0.01,
    max_empty_planes: int = 0,
    min_focus: float | None = None,
) -> xr.Dataset:
    """Measure every frame and channel of a movie, and judge it.

    All but the counts of voxels and planes is measured on f, the maximum over z of the planes,
    each divided by its own maximum, times 255, rounded to 8 bits (voxels below 0 or not finite
    count as 0). With m, the median of f, and w, its Wiener filter, zeros beyond the border:

    - ``frame_snr`` = 10 log10(sum m^2 / sum (f - m)^2): the paper's [1]_ ratio, that of MATLAB's
      ``snr(m, f - m)``. The paper names no window; 5 is the one its code uses elsewhere.
    - ``frame_psnr`` = 10 log10(255^2 / mean (f - w)^2) and ``frame_snr_wiener`` =
      10 log10(sum w^2 / sum (f - w)^2): the published code's way, which it calls "snr" and
      "peakSnr".
    - ``frame_contrast_to_noise``: the code's other "peakSnr". With e = max(f - m, 0) and the
      foreground where m exceeds its Otsu threshold [2]_: mean of f over the foreground less mean
      of e over the background, over the standard deviation (ddof 1) of the latter.
    - ``frame_spectral_tail``: power spectrum along x, no window, no detrending, each row padded
      with zeros to a power of two of at least 256, mean over y; standard deviation (ddof 1) of
      its decibels above 0.6 of the largest frequency. The published function cannot run; this
      is what it means to do.
    - ``frame_focus``: variance of the Laplacian of f (four neighbours, without the border) [3]_,
      over the squared mean of f, so that brightness does not count: the last step is ours.

    Parameters
    ----------
    ds : xarray.Dataset
        A movie.
    image : str
        Name of the variable with dims (t, c, z, y, x).
    median : int
        Window of the median filter in pixels, odd, at least 3.
    wiener : int
        Window of the Wiener filter in pixels, at least 2. An even one reaches one pixel further
        behind its centre than before it, as in MATLAB.
    full_scale : float, optional
        Voxels of at least this value are saturated. By default the largest value of an integer
        dtype; say 4095 for 12 bits in 16. Without it floats have no share of saturated voxels.
    min_snr : float
        Below it (dB) a frame is doubtful; the paper's line is 5.
    fail_snr : float
        At or below it (dB) a frame is unusable; at 0 noise is as strong as signal.
    max_saturated : float
        Above this share of saturated voxels a frame is doubtful.
    max_empty_planes : int
        With more planes without a value above 0 a frame is doubtful.
    min_focus : float, optional
        Below this ``frame_focus`` a frame is doubtful; by default focus is not judged.

    Returns
    -------
    xarray.Dataset
        Lazy ``frame_snr``, ``frame_psnr``, ``frame_snr_wiener``, ``frame_spectral_tail`` (dB),
        ``frame_contrast_to_noise``, ``frame_mean`` (0 to 255), ``frame_saturated`` (0 to 1),
        ``frame_focus``, ``frame_empty_planes``, ``quality_flag``, ``quality_reason`` over (t, c);
        ``attrs["spacing"]`` is the voxel size (z, y, x) in micrometres.

    Raises
    ------
    SchemaError
        The variable is missing or is no movie.
    UsageError
        A parameter that cannot work.

    Notes
    -----
    An empty frame (nothing above 0) has NaN for all but counts and mean, and is unusable. A
    frame equal to its filter has an infinite ratio; such a frame, or one of a single grey value
    (whose spectrum is NaN), is no measurement but a fill value: ``identical``, unusable. A ratio
    is -inf where the filter left nothing. Contrast is NaN without a foreground or with fewer than
    two pixels of background, infinite where that has no spread. Focus is NaN below 3 x 3 pixels.
    Ties of the Wiener filter's last rounding go up; MATLAB and Octave leave them to the noise of
    their floating point, so a few of ten thousand pixels differ by one there.

    References
    ----------
    .. [1] Leuko-Death, Methods, "Computation of quality metrics", and Technical Validation.
    .. [2] N. Otsu, IEEE Trans. SMC 9 (1979) 62-66.
    .. [3] J. L. Pech-Pacheco et al., ICPR 2000, vol. 3, 314-317; LAP4 in S. Pertuz et al.,
       Pattern Recognition 46 (2013) 1415-1432.

    Examples
    --------
    >>> pixels = np.random.default_rng(0).poisson(40, (1, 2, 3, 64, 64)).astype("uint8")
    >>> quality = frame_quality(schema.movie(pixels))
    >>> quality["frame_snr"].dims, quality["quality_flag"].values.tolist()
    (('t', 'c'), [[0, 0]])
    """
    frames = schema.IMAGE.check(ds, image)
    check_whole("median", median, 3, "a whole number of at least 3")
    if median % 2 == 0:
        raise UsageError(f"median: found {median}; expected an odd window, such as {median + 1}")
    check_whole("wiener", wiener, 2, "a whole number of at least 2")
    check_whole("max_empty_planes", max_empty_planes, 0, "a whole number of at least 0")
    limits = {
        "min_snr": min_snr,
        "fail_snr": fail_snr,
        "max_saturated": max_saturated,
        "max_empty_planes": max_empty_planes,
        "min_focus": min_focus,
    }
    for name, value in {**limits, "full_scale": full_scale}.items():
        if value is not None or name not in ("min_focus", "full_scale"):
            check_number(name, value)
    if fail_snr > min_snr:
        raise UsageError(f"fail_snr: found {fail_snr}; expected at most min_snr ({min_snr})")
    if full_scale is not None and full_scale <= 0:
        raise UsageError(f"full_scale: found {full_scale}; expected a grey value above 0")
    if full_scale is None and frames.dtype.kind in "ui":
        full_scale = float(np.iinfo(frames.dtype).max)
    *figures, flag, reason = map_frames(
        _frame_quality,
        frames,
        outputs=len(_FIGURES) + 2,
        dtypes=["f8"] * len(_FIGURES) + ["u1"] * 2,
        median=median,
        wiener=wiener,
        full_scale=full_scale,
        limits=limits,
    )
    bits = [1 << i for i in range(len(REASONS))]
    named = {
        k: v
        for var, array in zip(_FIGURES, figures, strict=True)
        for k, v in var.wrap(array).items()
    }
    return xr.Dataset(
        {
            **named,
            **schema.QUALITY_FLAG.wrap(flag),
            **schema.QUALITY_REASON.wrap(reason, flag_masks=bits, flag_meanings=" ".join(REASONS)),
        },
        attrs={"spacing": [schema.spacing(ds, dim) for dim in schema.SPACE_DIMS]},
    )


def _frame_quality(
    volume: Any,
    *,
    median: int,
    wiener: int,
    full_scale: float | None,
    limits: Mapping[str, Any],
) -> list[float]:
    """Measure one volume (z, y, x): all figures, the verdict and its reasons."""
    frame, empty, saturated = normalised_projection(
        volume, math.inf if full_scale is None else full_scale
    )
    sums = frame_sums(frame, median_filter(frame, median), wiener_filter(frame, wiener))
    figures = _figures(FrameSums(*(int(value) for value in sums)))
    figures["spectral_tail"] = math.nan if figures["flat"] else float(_spectral_tail(frame))
    voxels = math.prod(volume.shape)
    figures["saturated"] = math.nan if full_scale is None else int(saturated) / voxels
    figures["empty_planes"] = int(empty)
    reason = _reasons(figures, **limits)
    bad = reason & (4 | 8) or figures["snr"] <= limits["fail_snr"]
    flag = 2 if bad else int(reason > 0)
    names = [variable.name.removeprefix("frame_") for variable in _FIGURES]
    return [*(float(figures[name]) for name in names), flag, reason]


def _figures(s: FrameSums) -> dict[str, float]:
    """Work out the figures that follow from sums over the pixels."""
    empty = s.total == 0
    outside = s.pixels - s.inside
    contrast = math.nan
    if s.inside and outside > 1:
        mean = s.outside_total / outside
        spread = math.sqrt(max(s.outside_power - mean * s.outside_total, 0.0) / (outside - 1))
        above = s.inside_total / s.inside - mean
        contrast = above / spread if spread else math.copysign(math.inf, above)
    focus = math.nan
    if s.bends and not empty:
        variance = s.bend_power / s.bends - (s.bend_total / s.bends) ** 2
        focus = variance / (s.total / s.pixels) ** 2
    return {
        "snr": _decibels(s.median_power, s.median_error),
        "psnr": math.nan if empty else _decibels(255**2 * s.pixels, s.wiener_error),
        "snr_wiener": _decibels(s.wiener_power, s.wiener_error),
        "contrast_to_noise": contrast,
        "mean": s.total / s.pixels,
        "focus": focus,
        "flat": s.total == s.least * s.pixels,
    }


def _decibels(signal: int, noise: int) -> float:
    if noise == 0:
        return math.inf if signal else math.nan
    return 10 * math.log10(signal / noise) if signal else -math.inf


def _spectral_tail(frame: Any) -> Any:
    """Return the spread of the power spectrum above 0.6 of the largest frequency, in dB."""
    xp = namespace(frame)
    length = max(256, 1 << (frame.shape[1] - 1).bit_length())
    first = int(0.6 * (length // 2)) + 1
    spectrum = xp.fft.rfft(xp.astype(frame, xp.float64), n=length, axis=1)[:, first:]
    power = xp.sum(xp.real(spectrum) ** 2 + xp.imag(spectrum) ** 2, axis=0)
    if float(xp.min(power)) == 0:
        return math.nan
    # One-sided: every bin but the last stands for two. Constant factors leave the spread alone.
    half = xp.arange(power.shape[0], **beside(power)) == power.shape[0] - 1
    decibels = 10 * xp.log10(xp.where(half, power / 2, power))
    deviation = decibels - xp.mean(decibels)
    return xp.sqrt(xp.sum(deviation * deviation) / (deviation.shape[0] - 1))


def _reasons(
    figures: Mapping[str, float],
    *,
    min_snr: float,
    fail_snr: float,
    max_saturated: float,
    max_empty_planes: int,
    min_focus: float | None,
) -> int:
    """Add up the bits of what is wrong; comparisons with NaN are false."""
    del fail_snr
    empty = figures["mean"] == 0
    wrong = (
        figures["snr"] < min_snr,
        figures["saturated"] > max_saturated,
        empty,
        not empty and (figures["flat"] or math.inf in (figures["snr"], figures["psnr"])),
        min_focus is not None and figures["focus"] < min_focus,
        figures["empty_planes"] > max_empty_planes,
    )
    return sum(1 << bit for bit, yes in enumerate(wrong) if yes)
