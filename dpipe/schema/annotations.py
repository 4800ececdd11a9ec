"""Names of annotated pictures: which objects each holds, and where their outlines run.

A file of annotations lists pictures and objects. Pictures lie along ``record`` and have a number,
``image_id``; an object names its picture by that number, so any selection of pictures stays valid.
Objects stand in the order of their pictures. Outlines are contiguous ragged arrays as CF has them:
object i has the next ``ring_count[i]`` rings, ring j the next ``ring_points[j]`` vertices. An
object that is given as runs has ``run_count[i]`` of them: columns of the picture one after another,
the first run outside.

Vertices and boxes are in pixels from the upper left *corner* of the picture, as the files give
them: the centre of the first pixel is (0.5, 0.5). Everywhere else in dpipe a place is that of a
pixel's centre; here half a pixel less would cost the last digit.
"""

from dpipe.schema.variable import Variable

IMAGE_ID = Variable(
    "image_id", ("record",), "i", "1", "number of a picture in its file of annotations"
)
IMAGE_HEIGHT = Variable(
    "image_height", ("record",), "i", "pixel", "rows of a picture by its file of annotations"
)
IMAGE_WIDTH = Variable(
    "image_width", ("record",), "i", "pixel", "columns of a picture by its file of annotations"
)
LABEL_PIXELS = Variable(
    "label_pixels", ("block", "place"), "u", "1", "number of the object at each pixel, 0 none"
)
LABEL_FLAG = Variable(
    "label_flag",
    ("block", "slot"),
    "u",
    "1",
    "what is odd of labels: sum of bits, in flag_meanings",
)
LABEL_FLAGS = (
    *("unreadable", "negative_labels", "many_tiny_objects", "gone_or_changed"),
    "no_label_image",
)
"""Meanings of the bits 1, 2, 4, ... of `LABEL_FLAG`."""
UNLABELLED = 1 | 8 | 16
"""The bits of a picture of which nobody knows the objects: its labels are 0, which says nothing."""
PIXELS_LOST = Variable(
    "pixels_lost", ("block", "slot"), "u", "1", "pixels of objects that others lie on"
)
OBJECTS_LOST = Variable(
    "objects_lost", ("block", "slot"), "u", "1", "objects of which no pixel is left"
)


def _object(name: str, kinds: str, unit: str, meaning: str) -> Variable:
    return Variable(name, ("object",), kinds, unit, meaning)


ANNOTATION_ID = _object("annotation_id", "i", "1", "number of an object in its file")
OBJECT_IMAGE = _object("object_image", "i", "1", "image_id of the picture that shows an object")
OBJECT_CATEGORY = _object("object_category", "i", "1", "category_id of an object, -1 none")
OBJECT_CROWD = _object("object_crowd", "b", "1", "whether an object stands for several")
OBJECT_AREA = _object("object_area", "f", "pixel2", "area as the file gives it, NaN none")
OBJECT_SCORE = _object("object_score", "f", "1", "how sure a detection is, NaN none")
OBJECT_MASK_SCORE = _object("object_mask_score", "f", "1", "how sure a mask is, NaN none")
OBJECT_BOX = Variable(
    "object_box", ("object", "side"), "f", "pixel", "left, top, width, height of a box, NaN none"
)
RING_COUNT = _object("ring_count", "i", "1", "number of rings of an outline")
RUN_COUNT = _object("run_count", "i", "1", "number of runs of an object, 0 if it has rings")
RUN_HEIGHT = _object("run_height", "i", "pixel", "rows of the mask that runs fill, 0 unknown")
RING_POINTS = Variable("ring_points", ("ring",), "i", "1", "number of vertices of a ring")
OUTLINE_X = Variable("outline_x", ("point",), "f", "pixel", "columns from the left border")
OUTLINE_Y = Variable("outline_y", ("point",), "f", "pixel", "rows from the upper border")
RUN_LENGTH = Variable("run_length", ("run",), "u", "pixel", "pixels outside and inside, by turns")


def _record(name: str, meaning: str, unit: str = "pixel") -> Variable:
    return Variable(name, ("record",), "i", unit, meaning)


OBJECT_LABEL = _record("object_label", "number of an object in its label image", "1")
BOX_TOP = _record("box_top", "first row of an object")
BOX_LEFT = _record("box_left", "first column of an object")
BOX_HEIGHT = _record("box_height", "rows of an object")
BOX_WIDTH = _record("box_width", "columns of an object")

CATEGORY_ID = Variable("category_id", ("category",), "i", "1", "number of a class of objects")
CATEGORY_NAME = Variable("category_name", ("category",), "U", "1", "name of a class of objects")
SUPERCATEGORY = Variable("supercategory", ("category",), "U", "1", "what a class belongs to")

BOX_SIDES = ("left", "top", "width", "height")
"""What the numbers of a box are."""
