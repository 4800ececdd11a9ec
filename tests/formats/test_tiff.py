"""Pages of TIFF: chains that come back to themselves, whoever walks them."""

import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from dpipe.errors import InputError
from dpipe.formats.tiff import open_tiff_file
from dpipe.readers import open_bioio, open_crops, open_tiff


def stack(path, pages, **said):
    tifffile.imwrite(
        path, np.zeros((pages, 4, 5), "u1"), photometric="minisblack", metadata=None, **said
    )
    with tifffile.TiffFile(path) as tif:
        return [page.offset for page in tif.pages]


def link(path, at, to, *, big=False):
    """Let the directory at one place lead to another."""
    head, size, form = (8, 20, "<Q") if big else (2, 12, "<I")
    with path.open("r+b") as file:
        file.seek(at)
        count = struct.unpack("<Q" if big else "<H", file.read(head))[0]
        file.seek(at + head + count * size)
        file.write(struct.pack(form, to))


@pytest.mark.parametrize("big", [False, True], ids=["classic", "big"])
@pytest.mark.parametrize(("pages", "to"), [(1, 0), (3, 0), (3, 1), (120, 0), (150, 110)])
def test_a_chain_that_comes_back(tmp_path, monkeypatch, pages, to, big):
    """Beyond its hundredth page tifffile would follow it for ever."""
    path = tmp_path / "Neu1_cell1.tif"
    at = stack(path, pages, bigtiff=big)
    link(path, at[-1], at[to], big=big)
    message = f"Neu1_cell1.tif: damaged: behind page {pages - 1} comes page {to} again"
    monkeypatch.setitem(sys.modules, "bioio", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "bioio_tifffile", SimpleNamespace(Reader=None))
    for read in (open_tiff, open_crops, open_bioio):
        with pytest.raises(InputError, match=message):
            read(path)


@pytest.mark.parametrize("where", ["main", "itself", "sister"])
def test_pages_below_pages_that_come_back(tmp_path, where):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        big = np.zeros((16, 16), "u1")
        file.write(big, subifds=2, metadata=None)
        file.write(big[::2, ::2], subfiletype=1, metadata=None)
        file.write(big[::4, ::4], subfiletype=1, metadata=None)
    open_tiff(path)  # as it is
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        first, second = page.subifds
        entry = page.tags["SubIFDs"].valueoffset
    if where == "main":
        with path.open("r+b") as file:
            file.seek(entry)
            file.write(struct.pack("<I", page.offset))
    else:
        link(path, second if where == "sister" else first, first)
        link(path, first, first if where == "itself" else second)
    with pytest.raises(InputError, match=r"a.tif: damaged: (below page 0|behind page . comes)"):
        open_tiff(path)


def test_a_chain_of_sisters_is_no_circle(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(np.ones((16, 16), "u1"), subifds=2, metadata=None)
        for step in (2, 4):
            file.write(np.ones((16 // step, 16 // step), "u1"), subfiletype=1, metadata=None)
    with tifffile.TiffFile(path) as tif:
        first, second = tif.pages.first.subifds
    link(path, first, second)
    assert int(open_tiff(path).image.sum()) == 256


def test_a_walk_is_left_out_where_nobody_walks(tmp_path):
    at = stack(tmp_path / "a.tif", 3)
    link(tmp_path / "a.tif", at[-1], at[0])
    with open_tiff_file(str(tmp_path / "a.tif"), "a.tif", walk=False) as tif:
        assert tif.pages.first.shape == (4, 5)
