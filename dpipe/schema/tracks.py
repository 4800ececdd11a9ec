"""Names of what is known of tracks: their spots, their measures, who marked them."""

from dpipe.schema.variable import Variable


def _spot(name: str, unit: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(name, ("spot",), kinds, unit, meaning)


TRACK = _spot("track", "1", "number of the track that a spot belongs to, -1 none", "i")
FRAME = _spot("frame", "1", "frame of a spot, counted from 0", "i")
ANNOTATOR = _spot("annotator", "1", "who marked a spot, where several did", "U")
SPOT_CHANNEL = _spot("spot_channel", "1", "channel in which a spot was marked", "U")
SPOT_T = _spot("spot_t", "s", "time of a spot after the first frame, NaN unknown")
SPOT_Z = _spot("spot_z", "micrometer", "place of a spot along z, in the frame of the image")
SPOT_Y = _spot("spot_y", "micrometer", "place of a spot along y, in the frame of the image")
SPOT_X = _spot("spot_x", "micrometer", "place of a spot along x, in the frame of the image")
SPOT_RADIUS = _spot("spot_radius", "micrometer", "radius of a spot, NaN unknown")
SPOT_ID = _spot("spot_id", "1", "number of a spot in the file it comes from", "i")
SPOT_OBJECT = _spot("spot_object", "1", "object of a spot, where a file has several", "i")
SPOT_SPEED = _spot("spot_speed", "micrometer s-1", "speed at a spot, over its neighbours in time")
SPOT_DISPLACEMENT2 = _spot(
    "spot_displacement2", "micrometer2", "squared distance from the first spot of the track"
)
SPOT_AGREEMENT = _spot("spot_agreement", "1", "number of annotators with a spot there", "u")


def _track(name: str, unit: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(f"track_{name}", ("track_id",), kinds, unit, meaning)


TRACK_LENGTH = _track("length", "micrometer", "sum of the steps of a track")
TRACK_DISPLACEMENT = _track("displacement", "micrometer", "distance from first to last spot")
TRACK_STRAIGHTNESS = _track("straightness", "1", "displacement over length, NaN without length")
TRACK_DURATION = _track("duration", "s", "time from first to last spot")
TRACK_SPEED_MEAN = _track("speed_mean", "micrometer s-1", "length over duration of a track")
TRACK_SPOTS = _track("spots", "1", "number of spots of a track", "u")
TRACK_GAPS = _track("gaps", "1", "number of frames without a spot inside a track", "u")
TRACK_BRANCHES = _track("branches", "1", "number of frames with more than one spot", "u")
TRACK_FIRST = _track("first", "1", "first frame of a track, counted from 0", "i")
TRACK_LAST = _track("last", "1", "last frame of a track, counted from 0", "i")
TRACK_AGREEMENT = _track("agreement", "1", "number of annotators who marked an event", "u")
TRACK_LEFT_OUT = _track("left_out", "1", "frames inside an event that fewer than two marked", "u")
TRACK_PARENT = _track("parent", "1", "track that a track comes from, -1 none", "i")
ANNOTATOR_TRACK = Variable(
    "annotator_track", ("track_id", "person"), "i", "1", "track of each annotator, -1 none"
)
CONSENSUS_RATIO = Variable(
    "consensus_ratio", (), "f", "1", "share of what at least two annotators agree on"
)
