"""What was read of sources: seals name its digests, and another content is never "unchanged"."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scenes
import tifffile

import dpipe
from dpipe import catalog, ledger
from dpipe.build import Recipe, part_spec, parts, reader_step, run, scheduler
from dpipe.catalog import seals
from dpipe.checks import repair, store
from dpipe.config import Settings
from dpipe.demo.pictures import write_ifc_tree
from dpipe.formats.imaris_writer import write_imaris
from dpipe.storage import open_objects

VOLUME = np.arange(4 * 1 * 3 * 24 * 40, dtype="u2").reshape(4, 1, 3, 24, 40)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scheduler, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("DPIPE_CACHE", str(tmp_path / "cache"))


class Lab:
    """A folder of sources, a store, and runs of one reader in this process."""

    def __init__(self, folder: Path) -> None:
        self.raw = folder / "raw"
        self.raw.mkdir()
        self.objects = open_objects(str(folder / "store"))

    def run(self, reader: str = "imaris", source: str = "", **said: Any) -> run.Outcome:
        settings = {"workers": "0", "author": "ann", "retries": 1, **said}
        recipe = Recipe.of(reader_step("made", reader, [source or str(self.raw)]))
        return run.run(recipe, self.objects, Settings(**settings), progress=False)

    def sealed(self, stem: str = "") -> seals.Seal:
        refs = catalog.resolve(self.objects, "made").parts
        return seals.read(self.objects, next(r for r in refs if stem in r.stem).base)[0]

    def read(self) -> dict[str, ledger.Entry]:
        return dict(seals.sources_of(self.objects, self.sealed()))

    def asides(self) -> list[bytes]:
        return [self.objects.read(e.key) for e in self.objects.list("runs/") if "quara" in e.key]

    def findings(self) -> list[store.Finding]:
        return list(store.verify(self.objects, (), sources=True))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def movie(path: Path, values: np.ndarray = VOLUME) -> Path:
    """Write a movie; zeros behind it make files of unlike pixels equally long."""
    write_imaris(path, values, levels=1, chunks=(3, 24, 40))
    os.truncate(path, -(-path.stat().st_size >> 16) << 16)
    return path


def put_back(path: Path, data: bytes, before: os.stat_result) -> None:
    """Write other bytes of the same length, and set the time back."""
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_seal_names_the_digest_of_every_file_that_was_read(lab: Lab) -> None:
    path = movie(lab.raw / "Neu1.ims")
    lab.run()
    assert lab.read() == {str(path): {"size": path.stat().st_size, "sha256": digest(path)}}
    sealed = lab.sealed()
    listed = lab.objects.read(seals.sources_key(sealed.base))
    assert sealed.sources == {"sha256": hashlib.sha256(listed).hexdigest(), "count": 1}
    assert lab.findings() == []


def test_opening_reads_no_list_of_sources(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    movie(lab.raw / "Neu1.ims")
    lab.run()
    key = seals.sources_key(lab.sealed().base)
    lab.objects.delete(key)
    np.testing.assert_array_equal(dpipe.open(lab.objects.url, "made", part="Neu1").image, VOLUME)


def tiff(folder: Path) -> Path:
    path = folder / "m.tif"
    tifffile.imwrite(path, VOLUME[:, 0], imagej=True, metadata={"axes": "TZYX"})
    return path


def packed_tiff(folder: Path) -> Path:
    path, how = folder / "m.tif", {"compression": "zlib", "metadata": {"axes": "TZYX"}}
    tifffile.imwrite(path, VOLUME[:, 0], photometric="minisblack", **how)
    return path


def plain_imaris(folder: Path) -> Path:
    """Pixels without chunks, as h5py writes them where nobody asks."""
    path = movie(folder / "m.ims")
    with h5py.File(path, "r+") as file:
        for t in range(4):
            group = file[f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel 0"]
            values = group["Data"][...]
            del group["Data"]
            group.create_dataset("Data", data=values)
    return path


def spots(folder: Path) -> Path:
    path = movie(folder / "m.ims")
    scenes.points8(path, 0, [(k, k // 3, 1.0, 2.0, 3.0, 0) for k in range(9)], {})
    return path


LARGE: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "imaris": ("imaris", lambda folder: movie(folder / "m.ims")),
    "imaris without chunks": ("imaris", plain_imaris),
    "imaris-spots": ("imaris-spots", spots),
    "tiff": ("tiff", tiff),
    "packed tiff": ("tiff", packed_tiff),
}


@pytest.mark.parametrize("kind", LARGE)
def test_of_a_large_file_the_regions_that_were_read_are_noted(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """And they are those that hold the values: a flipped bit in any is told."""
    monkeypatch.setattr(ledger, "SMALL", 0)
    monkeypatch.setattr(ledger, "HEAD", 64)
    reader, write = LARGE[kind]
    path = write(lab.raw)
    assert lab.run(reader).exit_code == 0, lab.asides()
    (entry,) = lab.read().values()
    assert "sha256" not in entry
    assert len(entry["regions"]) > 1
    data = path.read_bytes()
    for region in entry["regions"]:
        place, _, told = region.partition(" ")
        start, length = map(int, place.split("+"))
        assert hashlib.sha256(data[start : start + length]).hexdigest() == told
    flipped = bytearray(data)
    flipped[start + length // 2] ^= 1
    before = path.stat()
    put_back(path, bytes(flipped), before)
    (finding,) = lab.findings()
    assert finding.key == str(path)
    assert finding.problem == f"its {length} bytes from {start} on are not those that were read"
    put_back(path, data, before)
    assert lab.findings() == []


def test_a_large_file_of_which_no_reader_says_what_it_took_is_noted_whole(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SMALL", 0)
    monkeypatch.setattr(ledger, "HEAD", 8)
    path = lab.raw / "Neu1.csv"
    path.write_text("track,frame,z_um,y_um,x_um\n" + "".join(f"1,{i},0,{i},0\n" for i in range(9)))
    assert lab.run("tracks").exit_code == 0, lab.asides()
    assert lab.read()[str(path)]["sha256"] == digest(path)


def test_all_partitions_together_note_what_was_read(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SMALL", 0)
    path = movie(lab.raw / "Neu1.ims", np.tile(VOLUME, (1, 1, 1, 20, 10)))
    lab.run(partition_bytes=1 << 20)
    assert lab.sealed().provenance["partitions"] > 1
    (entry,) = lab.read().values()
    with h5py.File(path) as file:
        stored = {
            file[f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel 0/Data"]
            .id.get_chunk_info(i)
            .byte_offset
            for t in range(4)
            for i in range(400)
            if i
            < file[f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel 0/Data"].id.get_num_chunks()
        }
    assert {int(r.partition("+")[0]) for r in entry["regions"]} == stored | {0}
    assert "sha256" not in entry  # the task that laid the part out did not read the movie


def test_a_file_of_which_every_task_read_only_the_head_is_noted_whole_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SMALL", 0)
    path, together = tmp_path / "notes.bin", ledger.Ledger()
    path.write_bytes(bytes(1 << 17))
    for _ in range(2):
        task = ledger.Ledger()
        task.open(str(path), str(path))
        together.take(task.entries(complete=False))
    assert "sha256" not in together.entries()[str(path)]
    spec = part_spec.PartSpec(kind="reader", name="tracks", version=1)
    part_spec.note_rest(spec, together)
    assert together.entries()[str(path)]["sha256"] == digest(path)
    assert together.heads() == []


@pytest.mark.parametrize("place", ["folder", "bucket", "zip"])
def test_objects_of_a_foreign_zarr_are_noted(lab: Lab, place: str, request: Any) -> None:
    ds = dpipe.open_imaris(movie(lab.raw.parent / "m.ims"))
    folder = lab.raw / "m.ome.zarr"
    dpipe.export(ds, "ome-zarr", lab.raw.parent / "out")
    shutil.move(next((lab.raw.parent / "out").glob("*.zarr")), folder)
    source = str(folder)
    if place == "bucket":
        source = f"{request.getfixturevalue('bucket')}/raw/m.ome.zarr"
        objects = open_objects(source)
        for file in folder.rglob("*"):
            if file.is_file():
                objects.put(file.relative_to(folder).as_posix(), file.read_bytes())
    if place == "zip":
        source = str(lab.raw / "m.zip")
        with zipfile.ZipFile(source, "w") as archive:
            for file in folder.rglob("*"):
                archive.write(file, file.relative_to(lab.raw))
        shutil.rmtree(folder)
    lab.run("ome-zarr", source)
    noted = {uri.partition("m.ome.zarr/")[2]: entry for uri, entry in lab.read().items()}
    assert any("/c/" in name or name.startswith("0/c") for name in noted)
    assert "zarr.json" in noted
    if place == "folder":
        for name, entry in noted.items():
            assert entry["sha256"] == digest(folder / name)
    assert lab.findings() == []


def test_every_picture_of_a_collection_is_noted(lab: Lab) -> None:
    write_ifc_tree(lab.raw / "tree", 40, channels=2, mean_size=9)
    lab.run("ifc", max_quarantine="50%")
    files = {str(path): path for path in lab.raw.rglob("*.h5")}
    noted = {}
    for ref in catalog.resolve(lab.objects, "made").parts:
        noted |= dict(seals.sources_of(lab.objects, seals.read(lab.objects, ref.base)[0]))
    assert noted
    for uri, entry in noted.items():
        assert entry == {"size": files[uri].stat().st_size, "sha256": digest(files[uri])}
    assert len(files) - len(noted) <= 1  # the one that is cut off is not read as a picture


# --- other bytes


def other(path: Path) -> bytes:
    """Return the bytes of a movie with one pixel more, of the same size."""
    beside = path.with_name("other.tmp")
    movie(beside, VOLUME + 1)
    data = beside.read_bytes()
    beside.unlink()
    return data


def test_other_bytes_of_the_same_size_and_time_are_another_source(lab: Lab) -> None:
    path = movie(lab.raw / "Neu1.ims")
    movie(lab.raw / "Neu2.ims")
    lab.run()
    put_back(path, other(path), path.stat())
    outcome = lab.run()
    assert (outcome.steps[0]["made"], outcome.steps[0]["reused"]) == (["Neu1"], ["Neu2"])
    np.testing.assert_array_equal(
        dpipe.open(lab.objects.url, "made", part="Neu1").image, VOLUME + 1
    )
    np.testing.assert_array_equal(dpipe.open(lab.objects.url, "made@1", part="Neu1").image, VOLUME)
    assert lab.run().nothing


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_other_bytes_in_an_archive_of_the_same_size_and_time_are_another_source(
    lab: Lab, tmp_path: Path, kind: str
) -> None:
    """It is written in place, and this process listed it before."""
    archive, file = tmp_path / f"all.{kind}", tmp_path / "in" / "Neu1.tif"
    file.parent.mkdir()
    found = []
    for value in (5, 7):
        tifffile.imwrite(file, np.full((2, 8, 8), value, "u2"), imagej=True)
        os.utime(file, (10**9, 10**9))
        data = Path(shutil.make_archive(str(tmp_path / "one"), kind, file.parent)).read_bytes()
        with archive.open("r+b" if archive.exists() else "wb") as whole:
            whole.write(data)
        os.utime(archive, (10**9, 10**9))
        assert lab.run("tiff", str(archive)).exit_code == 0
        found.append(int(dpipe.open(lab.objects.url, "made", part="Neu1").image.max()))
    assert found == [5, 7]
    assert lab.run("tiff", str(archive)).steps[0]["reused"] == ["Neu1"]


def test_a_file_that_was_written_anew_is_no_further_attempt(lab: Lab) -> None:
    """Its time says so already: whoever reads it first makes the same part."""
    path = movie(lab.raw / "Neu1.ims")
    lab.run()
    path.write_bytes(other(path))
    lab.run()
    (ref,) = catalog.resolve(lab.objects, "made@2").parts
    assert ref.attempt == 0


def test_a_file_that_was_only_copied_or_touched_stays(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = movie(lab.raw / "Neu1.ims")
    lab.run()
    shutil.copy2(path, path.with_name("kept.tmp"))
    path.with_name("kept.tmp").replace(path)
    path.chmod(0o600)
    assert lab.run().nothing
    asked = []
    monkeypatch.setattr(ledger, "compared", lambda *given: asked.append(given) or "")
    assert lab.run().nothing
    assert asked == [], "what was compared once is remembered"
    assert catalog.newest(lab.objects, "made").number == 1


def test_a_folder_that_was_copied_to_another_place_stays(lab: Lab) -> None:
    movie(lab.raw / "Neu1.ims")
    lab.run()
    shutil.copytree(lab.raw, lab.raw.parent / "moved")
    shutil.rmtree(lab.raw)
    assert lab.run(source=str(lab.raw.parent / "moved")).nothing


def test_pictures_of_other_bytes_are_read_again(lab: Lab) -> None:
    write_ifc_tree(lab.raw / "tree", 40, channels=2, mean_size=9)
    lab.run("ifc", max_quarantine="50%")
    path = next(p for p in sorted(lab.raw.rglob("*.h5")) if p.stat().st_size > 2000)
    data, before = bytearray(path.read_bytes()), path.stat()
    with h5py.File(path) as file:
        at = file["image"].id.get_offset()
    if at is None:
        pytest.fail("the demo's pictures are not contiguous: choose another byte")
    data[at] ^= 1
    put_back(path, bytes(data), before)
    (step,) = lab.run("ifc", max_quarantine="50%").steps
    assert len(step["made"]) == 1
    assert lab.run("ifc", max_quarantine="50%").nothing


def test_a_source_that_changes_while_it_is_read_and_changes_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partition 1 reads other bytes of the same size and time: nothing of it is sealed."""
    path = movie(lab.raw / "Neu1.ims", np.tile(VOLUME, (1, 1, 1, 20, 10)))
    good, before = path.read_bytes(), path.stat()
    movie(lab.raw.parent / "bad.ims", np.tile(VOLUME, (1, 1, 1, 20, 10)) + 1)
    bad = (lab.raw.parent / "bad.ims").read_bytes()
    function, done = parts.partition, []

    def meanwhile(url: str, base: str, index: int, *more: Any) -> dict[str, Any]:
        if index == 1 and not done:
            put_back(path, bad, before)
            parts._lazy.cache_clear()
        try:
            return function(url, base, index, *more)
        finally:
            if index == 1 and not done:
                put_back(path, good, before)
                done.append(index)

    monkeypatch.setattr(parts, "partition", meanwhile)
    outcome = lab.run(partition_bytes=1 << 20, retries=2)
    assert done
    assert outcome.exit_code == 0
    image = dpipe.open(lab.objects.url, "made", part="Neu1").image
    np.testing.assert_array_equal(image, np.tile(VOLUME, (1, 1, 1, 20, 10)))
    assert lab.findings() == []


def test_a_source_that_was_another_while_it_was_read_once_can_be_told(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = movie(lab.raw / "Neu1.ims")
    good, before, function = path.read_bytes(), path.stat(), parts.make
    bad = other(path)

    def meanwhile(*given: Any) -> dict[str, Any]:
        put_back(path, bad, before)
        try:
            return function(*given)
        finally:
            put_back(path, good, before)

    monkeypatch.setattr(parts, "make", meanwhile)
    lab.run()
    (finding,) = lab.findings()
    assert (finding.key, finding.problem) == (
        str(path),
        "its bytes are not those that were read",
    )
    monkeypatch.setattr(parts, "make", function)
    assert lab.run().steps[0]["made"] == ["Neu1"], "its stamp is another, and its bytes are"
    np.testing.assert_array_equal(dpipe.open(lab.objects.url, "made", part="Neu1").image, VOLUME)


def test_a_part_that_was_sealed_and_not_committed_is_held_against_its_source(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the commit; then the source is another, of the same size and time."""
    path = movie(lab.raw / "Neu1.ims")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "commit", killed)
        with pytest.raises(KeyboardInterrupt):
            lab.run()
    put_back(path, other(path), path.stat())
    assert lab.run().steps[0]["made"] == ["Neu1"]
    np.testing.assert_array_equal(
        dpipe.open(lab.objects.url, "made", part="Neu1").image, VOLUME + 1
    )


def test_a_part_of_an_earlier_dpipe_says_nothing_of_its_sources(lab: Lab, tmp_path: Path) -> None:
    from old_store import unzipped

    old = unzipped(tmp_path)
    silent: list[str] = []
    objects = open_objects(str(old / "store"))
    assert not list(store.verify(objects, ("leuko",), sources=True, silent=silent))
    assert all(base.startswith("parts/leuko/") for base in silent)
    assert silent


# --- the list itself


def test_a_damaged_list_of_sources_is_found_and_made_again(lab: Lab) -> None:
    movie(lab.raw / "Neu1.ims")
    lab.run()
    key = seals.sources_key(lab.sealed().base)
    data = lab.objects.read(key)
    for harm in (lambda: lab.objects.delete(key), lambda: lab.objects.put(key, data[:-9] + b"x")):
        harm()
        assert [finding.key for finding in store.verify(lab.objects, ())] == [key]
        (done,) = repair.repair(lab.objects)
        assert (done.key, done.why_not) == (key, "")
        assert lab.objects.read(key) == data


def test_the_command_line_compares_sources(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    from dpipe.cli import main

    path = movie(lab.raw / "Neu1.ims")
    lab.run()
    args = ["verify", "--sources", "--store", lab.objects.url]
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 0
    put_back(path, other(path), path.stat())
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*args, "--json"])
    assert ended.value.code == 5
    (found,) = json.loads(capsys.readouterr().out)
    assert found["key"] == str(path)
