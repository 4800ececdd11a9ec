"""Files that one header holds together: OME-TIFF over several files, and what is not whole."""

import numpy as np
import pytest
import tifffile

from dpipe.errors import InputError
from dpipe.readers import open_tiff
from dpipe.readers.tiff.files import find
from dpipe.sources import Item, list_items

T, C, Z = 3, 2, 4
PIXELS = np.arange(T * C * Z, dtype="u2").reshape(T, C, Z)[..., None, None] * np.ones((5, 6), "u2")


def ome(listed, own="", sizes=(T, C, Z), order="XYZCT", more="", image=None):
    """OME-XML that lists planes: (t, c, z, count, file name, UUID, first page)."""
    data = "".join(
        f'<TiffData IFD="{ifd}" FirstT="{t}" FirstC="{c}" FirstZ="{z}" PlaneCount="{n}">'
        f'<UUID FileName="{name}">{uuid}</UUID></TiffData>'
        for t, c, z, n, name, uuid, ifd in listed
    )
    t, c, z = sizes
    channels = "".join(
        f'<Channel ID="Channel:0:{i}" SamplesPerPixel="1" Name="{name}"/>'
        for i, name in enumerate(["GFP", "DiD"][:c])
    )
    attribute = f' UUID="{own}"' if own else ""
    pixels = (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="{order}" Type="uint16" '
        f'SizeX="6" SizeY="5" SizeZ="{z}" SizeC="{c}" SizeT="{t}" PhysicalSizeX="0.5" '
        f'PhysicalSizeY="0.5" PhysicalSizeZ="2" TimeIncrement="30">{channels}{data}{more}'
        "</Pixels></Image>"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{attribute}>'
        f"{pixels if image is None else image}</OME>"
    )


def write(path, planes, xml):
    with tifffile.TiffWriter(path) as file:
        for n, plane in enumerate(np.asarray(planes, "u2").reshape(-1, 5, 6)):
            file.write(
                plane, photometric="minisblack", metadata=None, contiguous=False,
                description=xml.encode() if n == 0 else None,
            )  # fmt: skip
    return path


def a_file_a_frame(folder, uuids=True, same=False, names=None):
    """Write three files that all list all planes."""
    folder.mkdir(exist_ok=True)
    names = names or [f"mf_T{t}.ome.tif" for t in range(T)]
    told = [f"urn:uuid:{t}" if uuids else "" for t in range(T)]
    listed = [(t, 0, 0, C * Z, names[t], told[t], 0) for t in range(T)]
    return [
        write(folder / names[t], PIXELS[t], ome(listed, told[0 if same else t])) for t in range(T)
    ]


def numbers(ds):
    return ds.image[..., 0, 0].values


@pytest.mark.parametrize(
    "said", [{}, {"uuids": False}, {"same": True}], ids=["own UUIDs", "no UUIDs", "one for all"]
)
def test_a_file_a_frame(tmp_path, said):
    paths = a_file_a_frame(tmp_path, **said)
    (part,) = find(list_items(tmp_path))
    assert part.stem == "mf"
    for given in (paths, paths[::-1], [item.uri for item in part.items]):
        ds = open_tiff(given)
        np.testing.assert_array_equal(numbers(ds), PIXELS[..., 0, 0])
        assert ds.t.values.tolist() == [0, 30, 60]
        assert ds.c.values.tolist() == ["GFP", "DiD"]
        assert "notes" not in ds.attrs
    region = ds.image.isel(t=slice(1, 3), c=1, z=slice(2, 4), y=0, x=slice(1, 3))
    assert region.values[:, :, 0].tolist() == PIXELS[1:, 1, 2:, 0, 0].tolist()


@pytest.mark.parametrize("t", range(T))
def test_one_file_of_a_set_reads_its_own_planes(tmp_path, t):
    ds = open_tiff(a_file_a_frame(tmp_path)[t])
    np.testing.assert_array_equal(numbers(ds), PIXELS[t : t + 1, ..., 0, 0])
    assert ds.t.values.tolist() == [30 * t]
    others = ", ".join(f"mf_T{k}.ome.tif" for k in range(T) if k != t)
    assert ds.attrs["notes"] == [f"it holds frame {t} of 3; the others lie in {others}"]


def test_a_file_a_channel_and_plane(tmp_path):
    """Each file is one plane of one channel, over time, in an order of its own."""
    names = {(c, z): f"tub_C{c}_Z{z}.ome.tif" for c in range(C) for z in range(Z)}
    listed = [
        (t, c, z, 1, names[c, z], f"urn:uuid:{c}{z}", T - 1 - t) for c, z in names for t in range(T)
    ]
    paths = [
        write(tmp_path / name, PIXELS[::-1, c, z], ome(listed, f"urn:uuid:{c}{z}", order="XYCTZ"))
        for (c, z), name in names.items()
    ]
    ds = open_tiff(paths)
    np.testing.assert_array_equal(numbers(ds), PIXELS[..., 0, 0])
    one = open_tiff(paths[6])  # channel 1, plane 2
    np.testing.assert_array_equal(numbers(one), PIXELS[:, 1:, 2:3, 0, 0])
    assert one.c.values.tolist() == ["DiD"]
    assert one.z.values.tolist() == [4]  # the third plane, 2 um apart
    assert one.attrs["notes"][0].startswith("it holds c 1 and z 2; the others lie in tub_C0_Z0")


def test_a_renamed_file_is_known_by_its_identifier(tmp_path):
    path = a_file_a_frame(tmp_path)[1]
    renamed = path.rename(tmp_path / "other.ome.tif")
    np.testing.assert_array_equal(numbers(open_tiff(renamed)), PIXELS[1:2, ..., 0, 0])


def test_names_and_headers_that_do_not_agree(tmp_path):
    paths = a_file_a_frame(tmp_path)
    paths[0].rename(tmp_path / "keep.tif")
    swapped = paths[1].rename(paths[0])  # the second one under the first one's name
    with pytest.raises(
        InputError, match=r"mf_T0.ome.tif has the name of one file .* the UUID of another; .*axes="
    ):
        open_tiff(swapped)
    assert open_tiff(swapped, axes="C2ZYX").sizes["z"] == 4  # its own pages in order
    same = a_file_a_frame(tmp_path, same=True)
    with pytest.raises(InputError, match="has the name of one file"):
        open_tiff(same[1])  # its header calls itself the first
    plain = a_file_a_frame(tmp_path, uuids=False)[1].rename(tmp_path / "b.ome.tif")
    with pytest.raises(InputError, match=r"b.ome.tif is none of the files .*mf_T0.ome.tif, mf_T1"):
        open_tiff(plain)


def test_files_that_are_missing_are_named(tmp_path):
    paths = a_file_a_frame(tmp_path)
    with pytest.raises(
        InputError,
        match=r"mf_T0.ome.tif: 8 of 24 planes are missing, which its header has in "
        r"mf_T1.ome.tif; say whole_frames=true for the 2 frames that are whole",
    ):
        open_tiff([paths[0], paths[2]])
    ds = open_tiff([paths[0], paths[2]], whole_frames=True)
    np.testing.assert_array_equal(numbers(ds), PIXELS[::2, ..., 0, 0])
    assert ds.t.values.tolist() == [0, 60]
    assert ds.attrs["notes"] == ["it holds frames 0, 2 of 3; the others lie in mf_T1.ome.tif"]


def test_a_file_that_breaks_off_in_a_frame(tmp_path):
    """As stacks of 4 GiB do: the first file holds a frame and a half."""
    names = ["a_part1.ome.tif", "a_part2.ome.tif"]
    listed = [
        (0, 0, 0, 12, names[0], "urn:uuid:0", 0),
        (1, 1, 0, 12, names[1], "urn:uuid:1", 0),
    ]
    flat = PIXELS.reshape(24, 5, 6)
    paths = [
        write(tmp_path / name, flat[12 * i : 12 * i + 12], ome(listed, f"urn:uuid:{i}"))
        for i, name in enumerate(names)
    ]
    np.testing.assert_array_equal(numbers(open_tiff(paths)), PIXELS[..., 0, 0])
    with pytest.raises(
        InputError, match=r"12 of 24 planes are missing, which its header has in a_part2.ome.tif; "
        "open the files together; say whole_frames=true for the 1 frames"
    ):  # fmt: skip
        open_tiff(paths[0])
    ds = open_tiff(paths[0], whole_frames=True)
    np.testing.assert_array_equal(numbers(ds), PIXELS[:1, ..., 0, 0])


def test_a_header_in_another_file(tmp_path):
    names = ["multi-Z0.ome.tif", "multi-Z1.ome.tif"]
    listed = [(t, 0, z, 1, names[z], f"urn:uuid:{z}", t) for z in range(2) for t in range(T)]
    full = ome(listed, "urn:uuid:9", sizes=(T, 1, 2))
    stub = '<BinaryOnly MetadataFile="multi.companion.ome" UUID="urn:uuid:9"/>'
    for z, name in enumerate(names):
        write(tmp_path / name, PIXELS[:, 0, z], ome([], f"urn:uuid:{z}", image=stub))
    paths = [tmp_path / name for name in names]
    for given in (paths, paths[0]):
        with pytest.raises(InputError, match=r"multi.companion.ome holds the list of planes; give"):
            open_tiff(given)
    assert open_tiff(paths[0], axes="TYX").sizes["t"] == 3
    (tmp_path / "multi.companion.ome").write_text(full, encoding="utf-8")
    (part,) = find(list_items(tmp_path))
    assert (part.stem, len(part.items)) == ("multi", 3)
    ds = open_tiff([item.uri for item in part.items])
    np.testing.assert_array_equal(numbers(ds), PIXELS[:, :1, :2, 0, 0])


@pytest.mark.parametrize(
    ("names", "companions", "expected"),
    [
        (["c_T0.ome.tif", "c_T1.ome.tif"], ["m.companion.ome"], {"c": ["m.companion.ome"]}),
        (["a.ome.tif", "b.ome.tif"], ["m.companion.ome"], {n: ["m.companion.ome"] for n in "ab"}),
        (
            ["a1.ome.tif", "b1.ome.tif"],
            ["a.companion.ome", "b.companion.ome"],
            {"a1": ["a.companion.ome"], "b1": ["b.companion.ome"]},
        ),
        (["q.ome.tif"], ["a.companion.ome", "b.companion.ome"], {"q": []}),
    ],
)
def test_a_companion_need_not_be_called_as_its_files(names, companions, expected):
    """``give that file too`` can be followed: it lies in the folder that was given."""
    items = [Item(f"/r/{name}", name, 9, "0") for name in names + companions]
    found = {p.stem: [i.path for i in p.items if i.path in companions] for p in find(items)}
    assert found == expected


def test_a_file_a_position(tmp_path):
    """One header for all positions: the image that has planes here is the one."""
    names = ["p_Pos0.ome.tif", "p_Pos1.ome.tif"]
    images = ""
    for p, name in enumerate(names):
        one = ome([(0, 0, 0, 4, name, f"urn:uuid:{p}", 0)], sizes=(1, 1, Z))
        images += one[one.index("<Image") : one.index("</OME>")].replace("Image:0", f"Image:{p}")
    paths = [
        write(tmp_path / name, PIXELS[p, 0], ome([], f"urn:uuid:{p}", image=images))
        for p, name in enumerate(names)
    ]
    for p, path in enumerate(paths):
        ds = open_tiff(path)
        np.testing.assert_array_equal(numbers(ds)[0, 0], PIXELS[p, 0, :, 0, 0])
        assert "other" not in str(ds.attrs.get("notes"))
    with pytest.raises(InputError, match="2 images inside; choose one with series=, of 0 to 1"):
        open_tiff(paths)
    np.testing.assert_array_equal(numbers(open_tiff(paths, series=1))[0, 0], PIXELS[1, 0, :, 0, 0])


def test_a_file_of_a_set_that_is_cut_off(tmp_path):
    paths = a_file_a_frame(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    with pytest.raises(InputError, match=r"mf_T0.ome.tif: 1 of 24 planes are missing.*2 frames"):
        open_tiff(paths)
    ds = open_tiff(paths, whole_frames=True)
    np.testing.assert_array_equal(numbers(ds), PIXELS[::2, ..., 0, 0])
    with pytest.raises(InputError, match="two of the files have one name"):
        open_tiff([*paths, a_file_a_frame(tmp_path / "b")[0]])


def test_planes_that_are_listed_without_a_file_are_its_own(tmp_path):
    def xml(own):
        listed = [(1, 0, 0, 8, "b.ome.tif", "urn:uuid:1", 0)]
        more = '<TiffData IFD="0" FirstT="0" PlaneCount="8"/>'
        return ome(listed, own, sizes=(2, C, Z), more=more)

    a = write(tmp_path / "a.ome.tif", PIXELS[0], xml("urn:uuid:0"))
    b = write(tmp_path / "b.ome.tif", PIXELS[1], xml("urn:uuid:1"))
    np.testing.assert_array_equal(numbers(open_tiff(a)), PIXELS[:1, ..., 0, 0])
    np.testing.assert_array_equal(numbers(open_tiff([a, b])), PIXELS[:2, ..., 0, 0])


def test_no_other_file_is_followed(tmp_path):
    """A header may name any file of this machine: nobody opens it."""
    secret = write(tmp_path / "secret.tif", PIXELS[1], "")
    listed = [(0, 0, 0, 8, "a.ome.tif", "urn:uuid:0", 0)]
    listed += [(1, 0, 0, 8, str(secret), "urn:uuid:1", 0)]
    path = write(tmp_path / "a.ome.tif", PIXELS[0], ome(listed, "urn:uuid:0", sizes=(2, C, Z)))
    ds = open_tiff(path)
    np.testing.assert_array_equal(numbers(ds), PIXELS[:1, ..., 0, 0])
    assert "secret.tif" in ds.attrs["notes"][0]
    assert str(tmp_path) not in ds.attrs["notes"][0]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((10**6, 1000, 1000), "promises"), ((0, 1, 1), "promises"), ((2, 1, 1), "lists a plane at")],
)
def test_headers_that_promise_anything(tmp_path, sizes, message):
    listed = [(0, 0, 0, 1, "a.ome.tif", "u:0", 0), (2, 0, 0, 1, "b.ome.tif", "u:1", 0)]
    path = write(tmp_path / "a.ome.tif", PIXELS[0, 0], ome(listed, "u:0", sizes=sizes))
    with pytest.raises(InputError, match=f"a.ome.tif: its OME header {message}"):
        open_tiff(path)


def test_files_of_a_set_of_unlike_kind(tmp_path):
    paths = a_file_a_frame(tmp_path)
    with tifffile.TiffFile(paths[1]) as tif:
        xml = tif.ome_metadata
    with tifffile.TiffWriter(paths[1]) as file:
        for n in range(C * Z):
            file.write(np.zeros((5, 6), "u1"), metadata=None, contiguous=False,
                       description=xml.encode() if n == 0 else None)  # fmt: skip
    ds = open_tiff(paths)
    with pytest.raises(InputError, match=r"mf_T1.ome.tif: uint8 of shape .* is uint16"):
        ds.image.compute()


# what is not whole --------------------------------------------------------------------------------


def stopped(path, frames=10, planes=20, listed=False, **said):
    """Write OME-TIFF that promises more frames than there are planes for."""
    data = "<TiffData/>"
    if listed:
        data = "".join(
            f'<TiffData IFD="{i}" FirstZ="{i % Z}" FirstC="{i // Z % C}" FirstT="{i // 8}" '
            'PlaneCount="1"/>'
            for i in range(planes)
        )
    xml = ome([], "urn:uuid:0", sizes=(frames, C, Z), more=data)
    pixels = np.arange(planes, dtype="u2").repeat(30).reshape(planes, 5, 6)
    tifffile.imwrite(path, pixels, description=xml.encode(), metadata=None,
                     photometric="minisblack", **said)  # fmt: skip
    return path


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("said", [{}, {"compression": "zlib"}], ids=["plain", "deflate"])
def test_a_stopped_recording(tmp_path, listed, said):
    path = stopped(tmp_path / "a.ome.tif", listed=listed, **said)
    with pytest.raises(InputError, match=r"whole_frames=true for the 2 frames that are whole, or"):
        open_tiff(path)
    ds = open_tiff(path, whole_frames=True)
    np.testing.assert_array_equal(numbers(ds), np.arange(16).reshape(2, C, Z))
    assert ds.t.values.tolist() == [0, 30]
    assert ds.attrs["notes"] == ["frames 2, 3, 4, 5, 6, 7, 8, 9 of 10 are not whole and left out"]


def test_a_hole_in_the_middle(tmp_path):
    """Frame 1 lacks a plane; the times of the others are theirs."""
    data = "".join(
        f'<TiffData IFD="{i}" FirstT="{t}" PlaneCount="1"/>' for i, t in enumerate([0, 2, 3])
    )
    xml = ome([], "urn:uuid:0", sizes=(4, 1, 1), more=data)
    path = write(tmp_path / "a.ome.tif", PIXELS[:, 0, 0], xml)
    ds = open_tiff(path, whole_frames=True)
    assert numbers(ds)[:, 0, 0].tolist() == [0, 8, 16]
    assert ds.t.values.tolist() == [0, 60, 90]
    assert ds.attrs["notes"] == ["frame 1 of 4 are not whole and left out"]


def test_no_frame_is_whole(tmp_path):
    path = stopped(tmp_path / "a.ome.tif", planes=7)
    for whole in (False, True):
        with pytest.raises(InputError, match=r"7 planes found, 80 expected; fetch or export"):
            open_tiff(path, whole_frames=whole)


def refusal(path, **options):
    try:
        open_tiff(path, **options)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "said",
    [
        {"ome": True, "metadata": {"axes": "TZYX"}},
        {"ome": True, "metadata": {"axes": "TZYX"}, "compression": "zlib"},
        {"imagej": True, "metadata": {"axes": "TZYX"}},
        {"metadata": {"axes": "TZYX"}},
        {"metadata": {"axes": "TZYX"}, "compression": "lzw"},
        {"metadata": {"axes": "TZYX"}, "truncate": True},
        {"imagej": True, "metadata": {"axes": "TZYX"}, "truncate": True},
    ],
    ids=["ome", "ome deflate", "imagej", "tifffile", "tifffile lzw", "one directory",
         "imagej, one directory"],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.45, 0.7, 0.95])
def test_files_that_are_cut_off(tmp_path, said, share):
    """Whatever is left, whole frames are those of the file, and what is lost is said."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60_000, (8, 3, 20, 30)).astype("u2")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **({"photometric": "minisblack"} | said))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    said, options = refusal(path), {}
    if "header is cut off" in said and "axes=" not in said:  # no second page is left
        return
    if "axes=" in said:  # the text of OME stands at the end
        options = {"axes": "TZ3YX"}
        assert "whole_frames=true" in refusal(path, **options)
    elif not said:
        assert share == 0.95  # all pixels stand before what is lost
    assert not said or "whole_frames=true" in said
    ds = open_tiff(path, whole_frames=True, **options)
    assert ds.sizes["t"] >= (1 if options else int(8 * share) - 1)  # little that is whole is lost
    np.testing.assert_array_equal(ds.image[:, 0], pixels[: ds.sizes["t"]])
    assert ds.sizes["t"] == 8 or ds.attrs["notes"]


@pytest.mark.parametrize(
    ("header", "axes", "shape"),
    [
        ("images=12\nslices=3\nframes=4\nhyperstack=true\n", "tz", (4, 3)),
        ("images=12\nchannels=3\nframes=4\norder=zct\n", "tc", (4, 3)),
        ("images=12\nslices=3\nframes=4\norder=tzc\n", "zt", (3, 4)),
        ("images=12\n", "t", (12,)),
    ],
)
def test_a_hyperstack_of_pages_that_is_cut_off(tmp_path, header, axes, shape):
    """As programs write it that put a directory before each plane; the order is ImageJ's."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for n in range(12):
            file.write(
                np.full((20, 30), n, "u2"), photometric="minisblack", metadata=None,
                contiguous=False, description=f"ImageJ=1.53t\n{header}" if n == 0 else None,
            )  # fmt: skip
    data = path.read_bytes()
    path.write_bytes(data[: int(0.8 * len(data))])  # nine pages, and a piece of the tenth
    if axes == "zt":  # each frame lies in every third of the file
        with pytest.raises(InputError, match="whole_frames=true for the 1 frames"):
            open_tiff(path)
    ds = open_tiff(path, whole_frames=True)
    pages = np.arange(12).reshape(shape)
    lost = pages >= 9
    whole = ~lost.any(axis=tuple(i for i, a in enumerate(axes) if a != "t"))
    expected = pages.compress(whole, axis=axes.index("t"))
    found = ds.image.isel({dim: 0 for dim in "tczyx" if dim not in axes}).transpose(*axes)
    np.testing.assert_array_equal(found, expected)
    assert ds.attrs["notes"]


def test_a_series_whose_last_file_is_cut_off(tmp_path):
    for t in range(4):
        tifffile.imwrite(tmp_path / f"t{t}.tif", np.full((3, 40, 50), t, "u2"),
                         photometric="minisblack", compression="zlib")  # fmt: skip
    paths = sorted(tmp_path.glob("*.tif"))
    paths[3].write_bytes(paths[3].read_bytes()[:300])
    with pytest.raises(InputError, match=r"t3.tif: "):
        open_tiff(paths)
    ds = open_tiff(paths, whole_frames=True)
    assert ds.image[:, 0, 0, 0, 0].values.tolist() == [0, 1, 2]
    assert ds.attrs["notes"] == ["frame 3 of 4 are not whole and left out"]
    paths[1].unlink()
    with pytest.raises(InputError, match=r"t1.tif: this time point is missing of 0 to 3"):
        open_tiff([paths[0], *paths[2:]])
    ds = open_tiff([paths[0], *paths[2:]], whole_frames=True, interval=10)
    assert ds.image[:, 0, 0, 0, 0].values.tolist() == [0, 2]
    assert ds.t.values.tolist() == [0, 20]
    assert "t1.tif" in ds.attrs["notes"][0]


def test_parts_of_a_zenodo_record_are_known_by_name():
    items = [Item(f"zenodo:1/mf_T{t}.ome.tif", f"mf_T{t}.ome.tif", 9, "0") for t in range(2)]
    assert [(part.stem, len(part.items)) for part in find(items)] == [("mf", 2)]
