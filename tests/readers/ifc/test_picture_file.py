"""One picture in an HDF5 file: the direct parser, h5py behind it, and what is refused."""

import io
import os
import re
import struct
import tempfile
import zlib
from contextlib import suppress

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpipe.errors import InputError
from dpipe.formats.hdf5_layout import Array, Unlike, members
from dpipe.readers.ifc import picture_file
from dpipe.readers.ifc.picture_file import Facts, look, planes

SHAPE = (9, 7, 5)
IMAGE = np.random.default_rng(1).integers(0, 200, SHAPE)
MASK = np.random.default_rng(2).random(SHAPE) > 0.5


def made(libver=None, image="u2", mask="u1", label=None, size=SHAPE, **how) -> bytes:
    held = io.BytesIO()
    with h5py.File(held, "w", libver=libver) as file:
        file.create_dataset("image", data=np.resize(IMAGE, size).astype(image), **how)
        if mask:
            file.create_dataset("mask", data=np.resize(MASK, size).astype(mask), **how)
        if label is not None:
            file["label"] = label
    return held.getvalue()


def facts(data: bytes) -> Facts:
    """What is looked up in memory and, the same, in a file on disk."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(data)
        file.seek(0)
        outcomes = []
        for one in (io.BytesIO(data), file):
            try:
                outcomes.append(look(one))
            except InputError as error:
                outcomes.append(error)
    if isinstance(outcomes[0], InputError) and isinstance(outcomes[1], InputError):
        raise outcomes[0]
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


@pytest.fixture
def no_h5py(monkeypatch):
    def refuse(_):
        raise AssertionError("h5py was asked")

    monkeypatch.setattr(picture_file, "_opened", refuse)


LABELS = {
    "none": (None, None),
    "text": ("T_cell", "T_cell"),
    "unicode": ("Zelle ä", "Zelle ä"),
    "long": ("x" * 300, "x" * 300),
    "bytes": (np.bytes_("B_cell"), "B_cell"),
    "number": (3, "3"),
}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("mask", ["u1", "?", "i4", "f8", None])
@pytest.mark.parametrize("image", ["u1", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("libver", [None, "v108", "latest"])
def test_contiguous_files_need_no_h5py(libver, image, mask, label, no_h5py):
    said, told = LABELS[label]
    data = made(libver and (libver, "latest"), image, mask, said)
    kind = np.dtype(mask).str if mask else ""
    assert facts(data) == Facts(*SHAPE, np.dtype(image).str, kind, told)
    pixels, covered = planes(data)
    np.testing.assert_array_equal(pixels, IMAGE.astype(image))
    assert pixels.dtype == image
    if mask:
        np.testing.assert_array_equal(covered, MASK.astype(mask))
        assert covered.dtype == mask
    else:
        assert covered is None


def test_of_a_large_picture_few_pages_are_read(no_h5py, tmp_path, monkeypatch):
    path, asked = tmp_path / "a.h5", []
    path.write_bytes(made(size=(120, 130, 8), label="T_cell"))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *given: asked.append(given[1]) or pread(*given))
    with path.open("rb", buffering=0) as file:
        assert look(file) == Facts(120, 130, 8, "<u2", "|u1", "T_cell")
    assert sum(asked) <= 6 * 8192


@pytest.mark.parametrize("libver", [None, "latest"])
def test_what_is_said_far_behind_the_first_bytes_is_found(libver, no_h5py):
    held = io.BytesIO()
    with h5py.File(held, "w", libver=libver) as file:
        for n in range(6):
            file[f"other_{n}"] = np.zeros(9000)
            file[f"other_{n}"].attrs["text"] = "x" * 900
        file["image"], file["mask"] = IMAGE.astype("u2"), MASK
    assert facts(held.getvalue()) == Facts(*SHAPE, "<u2", "|b1")


OTHERS = {
    "gzip and shuffle": {"compression": "gzip", "shuffle": True, "chunks": (4, 3, 2)},
    "gzip, big-endian": {"compression": "gzip", "image": ">u4", "chunks": (4, 3, 2)},
    "gzip, truth values": {"compression": "gzip", "mask": "?"},
    "gzip": {"compression": "gzip", "chunks": (4, 7, 5)},
    "shuffle": {"compression": "lzf", "shuffle": True},
    "chunks": {"chunks": (4, 4, 2)},
    "big-endian": {"image": ">u2", "mask": ">i2"},
    "half": {"image": "f2"},
    "checksum": {"fletcher32": True},
}


@pytest.mark.parametrize("how", OTHERS)
@pytest.mark.parametrize("libver", [None, "latest"])
def test_other_files_are_read_by_h5py(how, libver):
    options = {"label": "T_cell"} | OTHERS[how]
    data = made(libver, **options)
    image = np.dtype(options.get("image", "u2")).newbyteorder("=")
    mask = np.dtype(options.get("mask", "u1")).newbyteorder("=")
    assert facts(data) == Facts(*SHAPE, image.str, mask.str, "T_cell")
    pixels, covered = planes(data)
    assert (pixels.dtype, covered.dtype) == (image, mask)
    np.testing.assert_array_equal(pixels, IMAGE)
    np.testing.assert_array_equal(covered, MASK)


@pytest.mark.parametrize(("offset", "precision"), [(0, 12), (4, 12), (2, 12)])
@pytest.mark.parametrize("libver", [None, "latest"])
def test_twelve_bits_lie_where_the_file_says(offset, precision, libver):
    """Numbers of 12 bits within 16, as cameras give them; HDF5 says at which bit they begin."""
    kind = h5py.h5t.STD_U16LE.copy()
    kind.set_offset(0)
    kind.set_precision(precision)
    kind.set_offset(offset)
    held, values = io.BytesIO(), (IMAGE * 20).astype("u2")
    with h5py.File(held, "w", libver=libver) as file:
        space = h5py.h5s.create_simple(SHAPE)
        data = h5py.h5d.create(file.id, b"image", kind, space)
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
        file["mask"] = MASK.astype("u1")
    pixels, covered = planes(held.getvalue())
    np.testing.assert_array_equal(pixels, values)
    np.testing.assert_array_equal(covered, MASK)


def test_an_array_that_is_not_all_there_is_left_to_h5py():
    """What its header says of its length, and of the end of the file, is held against its shape."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        file["image"], file["more"] = IMAGE.astype("u2"), np.arange(900)
        start, length = file["image"].id.get_offset(), file["image"].id.get_storage_size()
    data = held.getvalue()
    assert length == 2 * 9 * 7 * 5
    assert members(data, len(data))["image"] == Array(SHAPE, np.dtype("<u2"), start)
    said = struct.pack("<QQ", start, length)
    assert data.count(said) == 1
    beyond = len(data) - length + 1
    for first, n in ((start, length - 1), (beyond, length), (2**64 - 1, length)):
        with pytest.raises(Unlike):
            members(data.replace(said, struct.pack("<QQ", first, n)), len(data))
    last = data.replace(said, struct.pack("<QQ", beyond - 1, length))
    assert members(last, len(data))["image"].start == beyond - 1
    with pytest.raises(Unlike):  # the superblock names one byte more
        members(data, len(data) - 1)


def test_labels_as_lists_and_other_text():
    text = h5py.string_dtype()
    for label, told in ((np.array(["T"], text), "T"), (np.array([b"ab"]), "ab"), (b"\xe4x", "äx")):
        assert facts(made(label=label)).label == told
    for label, odd in (
        (h5py.Empty("i4"), "label is empty; expected values; the picture has no label"),
        (np.array(["a", "b"], text), "label of shape (2,); expected one; the picture has no label"),
    ):
        found = facts(made(label=label))
        assert (found.label, found.odd) == (None, odd)


@pytest.mark.parametrize("size", [0, 2**31 - 1, 2**32 - 1])
def test_a_label_whose_length_cannot_be(size):
    """As h5py has it; the direct parser takes no text of no length, nor one longer than files."""
    data = bytearray(made(label=np.bytes_("ab"), mask=None))
    (found,) = re.finditer(rb"\x13[\x00\x01]\x00{2}\x02\x00{3}", data)
    struct.pack_into("<I", data, found.end() - 4, size)
    with pytest.raises(InputError, match="damaged"):
        facts(bytes(data))


def damaged(change) -> bytes:
    held = io.BytesIO(made())
    with h5py.File(held, "r+") as file:
        change(file)
    return held.getvalue()


def replaced(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


def external(file):
    del file["image"]
    file.create_dataset("image", SHAPE, "u2", external=[("/etc/passwd", 0, 630)])


def virtual(file):
    del file["mask"]
    layout = h5py.VirtualLayout(SHAPE, "u1")
    layout[...] = h5py.VirtualSource("/etc/passwd", "mask", SHAPE)
    file.create_virtual_dataset("mask", layout)


def linked(kind):
    def change(file):
        file.move("mask", "other")
        file["mask"] = kind

    return change


def huge(file):
    del file["image"]
    file.create_dataset("image", (1 << 20, 1 << 12, 4), "u2", chunks=(64, 64, 4))


def huge_chunk(file):
    del file["image"], file["mask"]
    file.create_dataset(
        "image", (4, 4, 2), "u1", maxshape=(None,) * 3, chunks=(1 << 14, 1 << 14, 8)
    )


def a_chunk_left_out(file):
    del file["image"]
    held = file.create_dataset("image", SHAPE, "u2", chunks=(3, 7, 5))
    held[3:] = 1


def never_written(file):
    del file["mask"]
    file.create_dataset("mask", SHAPE, "u1")


BAD = {
    "never written": (damaged(never_written), "damaged: mask was never written"),
    "empty": (b"", "empty: 0 bytes"),
    "text": (b"rubbish" * 9, "not an HDF5 file"),
    "truncated": (made()[:1500], "truncated, shorter than its header says"),
    "half": (made()[:-300], "truncated"),
    "no image": (damaged(lambda file: file.move("image", "picture")), "no dataset image"),
    "flat": (damaged(replaced("image", IMAGE[0])), r"mask of shape \(9, 7, 5\) beside an image"),
    "line": (damaged(replaced("image", IMAGE[0, 0])), r"image of shape \(5,\); expected"),
    "four": (damaged(replaced("image", IMAGE[None])), r"image of shape \(1, 9, 7, 5\); expected"),
    "nothing": (damaged(replaced("image", np.zeros((0, 7, 5), "u2"))), r"shape \(0, 7, 5\)"),
    "empty image": (damaged(replaced("image", h5py.Empty("u2"))), "image"),
    "empty mask": (damaged(replaced("mask", h5py.Empty("u1"))), "mask"),
    "long floats": (damaged(replaced("image", np.zeros(SHAPE, "g"))), "of up to 64 bits"),
    "text pixels": (damaged(replaced("image", np.full(SHAPE, b"a"))), r"image of \|S1; expected"),
    "complex": (damaged(replaced("image", np.zeros(SHAPE, "c8"))), "image of complex64"),
    "other mask": (damaged(replaced("mask", MASK[:3])), r"mask of shape \(3, 7, 5\) beside"),
    "text mask": (damaged(replaced("mask", np.full(SHAPE, b"a"))), r"mask of \|S1"),
    "group": (damaged(lambda f: (f.move("mask", "m"), f.create_group("mask"))), "mask is no data"),
    "external": (damaged(external), "image keeps its values in other files"),
    "virtual": (damaged(virtual), "mask keeps its values in other files"),
    "soft link": (damaged(linked(h5py.SoftLink("/other"))), "mask is a link to another place"),
    "external link": (damaged(linked(h5py.ExternalLink("/a.h5", "/m"))), "mask is a link"),
    "huge": (damaged(huge), "more than 1 GiB is refused"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name):
    data, text = BAD[name]
    for ask in (facts, planes):
        with pytest.raises(InputError, match=text) as told:
            ask(data)
        assert "\n" not in str(told.value)


def test_a_chunk_that_is_missing_is_no_zeros():
    with pytest.raises(InputError, match="damaged: image has not all of its 3 chunks"):
        planes(damaged(a_chunk_left_out))


def test_a_chunk_that_would_fill_the_memory():
    with pytest.raises(InputError, match="image has chunks of 2147483648 bytes"):
        planes(damaged(huge_chunk))


def test_a_chunk_that_decodes_to_more_than_it_says():
    with h5py.File(held := io.BytesIO(), "w") as file:
        image = file.create_dataset("image", SHAPE, "u2", chunks=SHAPE, compression="gzip")
        image.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(50_000_000)))
    with pytest.raises(InputError, match="damaged: "):
        planes(held.getvalue())
    with h5py.File(held := io.BytesIO(), "w") as file:
        image = file.create_dataset("image", SHAPE, "u2", chunks=SHAPE, compression="gzip")
        image.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(9)))
    with pytest.raises(InputError, match="a chunk decodes to 9 bytes; expected 630"):
        planes(held.getvalue())


def test_chunks_that_are_kept_without_their_filters():
    values = IMAGE.astype("<u2")
    shuffled = values.view("u1").reshape(-1, 2).T.tobytes()
    for mask, raw in ((3, values.tobytes()), (2, shuffled), (1, zlib.compress(values.tobytes()))):
        with h5py.File(held := io.BytesIO(), "w") as file:
            image = file.create_dataset(
                "image", SHAPE, "u2", chunks=SHAPE, compression="gzip", shuffle=True
            )
            image.id.write_direct_chunk((0, 0, 0), raw, mask)
        np.testing.assert_array_equal(planes(held.getvalue())[0], IMAGE)


def test_pixels_that_cannot_be_decoded():
    data = bytearray(made(compression="gzip", chunks=(9, 7, 5)))
    assert facts(bytes(data)).height == 9
    start = h5py.File(io.BytesIO(bytes(data)))["image"].id.get_chunk_info(0).byte_offset
    data[start : start + 40] = b"\xff" * 40
    with pytest.raises(InputError, match="damaged: "):
        planes(bytes(data))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_gets_through_as_anything_else(data):
    """Whatever bytes are changed or cut off: the same kind of answer, or an InputError."""
    whole = bytearray(made(None, label="T_cell") if data.draw(st.booleans()) else made("latest"))
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    with suppress(InputError):
        found = facts(bytes(whole))
        image, mask = planes(bytes(whole))
        assert image.shape == (found.height, found.width, found.channels)
        assert (mask is None) == (found.mask == "")
