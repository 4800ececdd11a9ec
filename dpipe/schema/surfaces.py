"""Names of what is known of surfaces: triangle meshes one after another, and what they measure."""

from dpipe.schema.variable import Variable


def _surface(name: str, unit: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(name, ("surface",), kinds, unit, meaning)


SURFACE_FRAME = _surface("surface_frame", "1", "frame of a surface, counted from 0", "i")
SURFACE_TRACK = _surface("surface_track", "1", "track of a surface, -1 none", "i")
SURFACE_ID = _surface("surface_id", "1", "number of a surface in the file it comes from", "i")
SURFACE_OBJECT = _surface(
    "surface_object", "1", "object of a surface, where a file has several", "i"
)
SURFACE_STATISTIC = Variable(
    "surface_statistic", ("surface", "name"), "f", "1", "what Imaris measured, by statistic_unit"
)
SURFACE_LABEL = Variable(
    "surface_label", ("surface", "label_group"), "U", "1", "label that a person gave a surface"
)
VERTEX_COUNT = _surface("vertex_count", "1", "number of vertices of a surface", "i")
FACE_COUNT = _surface("face_count", "1", "number of triangles of a surface", "i")
VERTEX_Z, VERTEX_Y, VERTEX_X = (
    Variable(f"vertex_{dim}", ("vertex",), "f", "micrometer", f"place of a vertex along {dim}")
    for dim in "zyx"
)
FACE = Variable(
    "face_vertex", ("face", "corner"), "i", "1", "vertices of a triangle within its surface"
)
SURFACE_AREA = _surface("surface_area", "micrometer2", "area of a mesh")
SURFACE_VOLUME = _surface("surface_volume", "micrometer3", "volume in a mesh, NaN if not closed")
SURFACE_Z, SURFACE_Y, SURFACE_X = (
    _surface(f"surface_{dim}", "micrometer", f"centre of that volume along {dim}") for dim in "zyx"
)
SURFACE_FLAG = _surface(
    "surface_flag", "1", "what is wrong with a mesh: sum of bits, named in flag_meanings", "u"
)
SURFACE_FLAGS = ("empty", "not_closed", "turned_triangles", "not_finite", "missing_vertex")
"""Meanings of the bits 1, 2, 4, ... of `SURFACE_FLAG`."""
