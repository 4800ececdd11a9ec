"""Names of collections: many small pictures one after another, and what is known of each.

Pictures of unlike size are *packed*. A block holds some hundred of them; the planes of picture r
of C channels begin at the value ``offset[r] * C`` of its block's row of ``pixels``, channel k at
``offset[r] * C + k * height[r] * width[r]``, rows first. ``offset`` counts the places (pixels of
one plane) of the pictures before it in its block, so its mask begins at ``mask_code[offset[r]]``.
A picture that was put aside has the height and width 0 and takes no place.
"""

from dpipe.schema.variable import Variable

PICTURE_DIMS = ("record", "c", "y", "x")

PIXELS = Variable("pixels", ("block", "value"), "uif", "1", "planes of pictures one after another")
MASK_CODE = Variable(
    "mask_code", ("block", "place"), "u", "1", "masks of all channels: bit k is that of channel k"
)
MASK_PIXELS = Variable(
    "mask_pixels", ("block", "value"), "uifb", "1", "masks of several values, laid as the pixels"
)
MASK_VALUE = Variable(
    "mask_value", ("block", "slot"), "uifb", "1", "what a set bit of a mask stands for, 0 none"
)
PICTURE_FLAG = Variable(
    "picture_flag", ("block", "slot"), "u", "1", "what is odd: sum of bits, in flag_meanings"
)
PICTURE_FLAGS = ("unreadable", "mask_of_several_values", "not_finite", "gone_or_changed")
"""Meanings of the bits 1, 2, 4, ... of `PICTURE_FLAG`."""
UNREADABLE = 1
"""The bit of a picture that could not be read after all: its values are zeros, to be left out."""
SEVERAL_VALUES = 2
"""The bit of one whose mask has several values besides 0: they are in `MASK_PIXELS`."""
GONE = 8
"""The bit of one whose file was gone, or another, when it was read: a later run looks again."""
GONE_REASON = "gone or changed since the source was listed"
"""Why such a picture is put aside; what a reader says of one that is gone begins with "gone"."""


def _record(name: str, unit: str, meaning: str, kinds: str = "U") -> Variable:
    return Variable(name, ("record",), kinds, unit, meaning)


IN_BLOCK = _record("in_block", "1", "label of the block that holds a picture", "i")
IN_SLOT = _record("in_slot", "1", "number of a picture within its block", "i")
OFFSET = _record("offset", "1", "places of the pictures before it in its block", "i")
HEIGHT = _record("height", "1", "rows of a picture, 0 if it was put aside", "i")
WIDTH = _record("width", "1", "columns of a picture, 0 if it was put aside", "i")
MASK_DTYPE = _record("mask_dtype", "1", "dtype of a picture's mask, empty without one")
PUT_ASIDE = _record("put_aside", "1", "why a picture was put aside, empty if it is sound")
PICTURE_FILE = _record("file", "1", "name of the file that a picture comes from")
FILE_STATE = _record("file_state", "1", "changes when the file's name, size or etag does", "i")
EXPERIMENT = _record("experiment", "1", "experiment that a picture belongs to")
DONOR = _record("donor", "1", "donor of the sample")
CONDITION = _record("condition", "1", "what was done to the sample")
OBJECT_NUMBER = _record(
    "object_number", "1", "number of the object in its file's name, -1 none", "i"
)
PICTURE_SET = _record("set", "1", "labeled or unlabeled")
PICTURE_LABEL = _record("label", "1", "class that somebody gave a picture, -1 none")

OF_RECORDS = {
    column.name: column
    for column in (
        *(
            IN_BLOCK,
            IN_SLOT,
            OFFSET,
            HEIGHT,
            WIDTH,
            MASK_DTYPE,
            PUT_ASIDE,
            PICTURE_FILE,
            FILE_STATE,
        ),
        *(EXPERIMENT, DONOR, CONDITION, OBJECT_NUMBER, PICTURE_SET, PICTURE_LABEL),
    )
}
"""What is known of each picture, by name; elsewhere these names may mean something else."""

FEATURE = Variable("feature", ("record", "name"), "f", "1", "numbers measured on the cell")
FEATURE_FAMILY = Variable("family", ("name",), "U", "1", "family that a number belongs to")

PICTURES = Variable("image", PICTURE_DIMS, "uif", "1", "pictures of one size")
PICTURE_MASKS = Variable("mask", PICTURE_DIMS, "b", "1", "whether a pixel is in the object")
OF_COLLECTIONS = {variable.name: variable for variable in (PICTURES, PICTURE_MASKS)}
"""What these names mean in a collection; in a movie they mean something else."""
