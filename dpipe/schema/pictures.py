"""Names of what is made of the pixels and masks of a collection: quality, sums, statistics."""

from dpipe.schema.variable import Variable


def _per_channel(name: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(name, ("record", "c"), kinds, "1", meaning)


PICTURE_SATURATED = _per_channel(
    "picture_saturated", "share of pixels at the largest value possible"
)
PICTURE_FOCUS = _per_channel("picture_focus", "root mean square of the gradient (Sobel)")
PICTURE_MIN = _per_channel("picture_min", "smallest value of a picture")
PICTURE_MAX = _per_channel("picture_max", "largest value of a picture")
MASK_SHARE = _per_channel("mask_share", "share of a picture's pixels in its mask")
MASK_ON_BORDER = _per_channel("mask_on_border", "number of mask pixels on a picture's border", "u")
PICTURE_REASON = _per_channel(
    "picture_reason", "what is wrong: sum of bits, named in flag_meanings", "u"
)
PICTURE_VERDICT = Variable(
    "picture_verdict",
    ("record",),
    "u",
    "1",
    "verdict on a picture",
    ("good", "doubtful", "unusable"),
)
PICTURE_REASONS = (
    *("saturated", "out_of_focus", "constant", "not_finite"),
    *("no_mask", "empty_mask", "cut_off_at_border"),
)
"""Meanings of the bits 1, 2, 4, ... of `PICTURE_REASON`."""

CHANNELS_OF_ONE_VALUE = Variable(
    "channels_of_one_value", ("block", "slot"), "u", "1", "channels whose percentiles are equal"
)
BACKGROUND_ZEROS = Variable(
    "background_zeros", ("block", "slot"), "u", "1", "pixels whose background was 0"
)
MASK_NAME = Variable(
    "mask_name", ("mask",), "U", "1", "what each bit of a mask code is the mask of"
)
SPILLOVER = Variable(
    "spillover", ("detector", "source"), "f", "1", "share of a source's light that a detector sees"
)
CHANNEL_HISTOGRAM = Variable(
    "channel_histogram", ("block", "c", "level"), "u", "1", "number of pixels of each grey value"
)
CHANNEL_MOMENTS = Variable(
    "channel_moments",
    ("block", "c", "moment"),
    "f",
    "1",
    "pixels: number, mean, sum of squared deviations, least, largest",
)


def _channel(name: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(f"channel_{name}", ("c",), kinds, "1", meaning)


CHANNEL_PIXELS = _channel("pixels", "number of pixels that were counted", "u")
CHANNEL_MIN = _channel("min", "smallest pixel")
CHANNEL_MAX = _channel("max", "largest pixel")
CHANNEL_MEAN = _channel("mean", "mean of the pixels")
CHANNEL_STD = _channel("std", "standard deviation of the pixels (ddof 0)")
CHANNEL_PERCENTILE = Variable(
    "channel_percentile", ("c", "percentile"), "f", "1", "percentiles of the pixels"
)
VALUES_IN_MASK = Variable(
    "values_in_mask", ("record",), "u", "1", "values besides 0 of a mask of several, else 0"
)
