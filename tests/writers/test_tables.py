"""CSV and Parquet: every number comes back, with its unit."""

import json
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from dpipe import schema, writers
from dpipe.errors import SchemaError, UsageError
from dpipe.writers import tables, write_csv, write_parquet


def quality(frames=3, names=("GFP", "RFP"), seed=0, chunks=(1, 1)):
    """Two numbers of each frame and channel."""
    ds = schema.movie(np.zeros((frames, len(names), 1, 2, 2), "u1"), channels=names, interval=30)
    coords = {name: ds.coords[name] for name in ("t", "c")}
    rng = np.random.default_rng(seed)

    def lazy(values):
        data = da.from_array(values, chunks=chunks)
        return xr.DataArray(data, dims=("t", "c"), coords=coords)

    shape = (frames, len(names))
    return xr.Dataset(
        schema.FRAME_SNR.wrap(lazy(rng.normal(size=shape)))
        | schema.QUALITY_FLAG.wrap(lazy(rng.integers(0, 3, shape).astype("u1")))
    )


def both(parts, folder, **options):
    """Write both kinds; return the CSV and the Parquet as frames."""
    csv, columns = write_csv(parts, folder, **options)
    (parquet,) = write_parquet(parts, folder, **options)
    frame = pd.read_csv(csv, dtype={"part": str, "c": str})
    described = json.loads(Path(columns).read_text(encoding="utf-8"))
    return frame, described, pq.read_table(parquet)


def test_a_row_for_each_frame_and_channel(tmp_path):
    parts = {"Neu1": quality(), "Neu2": quality(2, seed=1)}
    frame, described, table = both(parts, tmp_path)
    assert frame.columns.tolist() == ["part", "t", "c", "frame_snr", "quality_flag"]
    assert len(frame) == 3 * 2 + 2 * 2
    assert frame["part"].tolist() == ["Neu1"] * 6 + ["Neu2"] * 4
    assert frame["t"].tolist() == [0, 0, 30, 30, 60, 60, 0, 0, 30, 30]
    assert frame["c"].tolist() == ["GFP", "RFP"] * 5
    expected = np.concatenate([ds["frame_snr"].values.ravel() for ds in parts.values()])
    np.testing.assert_allclose(frame["frame_snr"], expected, rtol=1e-15)
    np.testing.assert_array_equal(table["frame_snr"], expected)
    pd.testing.assert_frame_equal(table.to_pandas(), frame, check_dtype=False)
    assert table.schema.field("quality_flag").type == pa.uint8()
    assert table.schema.field("frame_snr").metadata[b"unit"] == b"dB"
    assert table.schema.field("t").metadata == {b"unit": b"s", b"description": b"time"}
    assert described[3] == {
        "name": "frame_snr",
        "type": "double",
        "unit": "dB",
        "description": schema.FRAME_SNR.meaning,
    }
    assert [entry["name"] for entry in described] == frame.columns.tolist()


def test_names_of_files(tmp_path):
    parts = {"a": quality()}
    assert write_parquet(parts, tmp_path / "new", name="quality") == [
        str(tmp_path / "new" / "quality.parquet")
    ]
    ds = quality()
    ds = ds.assign(fluctuation=ds["frame_snr"].std("t"), frames=3)
    paths = write_parquet({"a": ds}, tmp_path)
    assert [p.rpartition("/")[2] for p in paths] == [
        "table_t_c.parquet",
        "table_c.parquet",
        "table_part.parquet",
    ]
    single = pq.read_table(paths[2]).to_pandas()
    assert single.to_dict("list") == {"part": ["a"], "frames": [3]}
    assert pq.read_table(paths[1]).to_pandas()["c"].tolist() == ["GFP", "RFP"]


def test_a_dim_without_coordinate_is_counted(tmp_path):
    ds = xr.Dataset({"area": ("spot", [2.5, 3.5]), "kind": ("spot", ["a", "b,\n\u00e9"])})
    frame, described, table = both({"x": ds, "y": ds}, tmp_path)
    assert frame["spot"].tolist() == [0, 1, 0, 1]
    assert frame["kind"].tolist() == ["a", "b,\n\u00e9"] * 2
    assert table.to_pandas()["kind"].tolist() == ["a", "b,\n\u00e9"] * 2
    assert described[3] == {"name": "kind", "type": "string"}


def test_what_is_known_of_a_record_is_a_column(tmp_path):
    ds = xr.Dataset(
        {"area": ("record", [2.5, 3.5, 4.5])},
        coords={"record": [7, 8, 9], "cell_type": ("record", ["A172", "MCF7", "A172"])},
    )
    frame, _, _ = both({"x": ds.isel(record=[2, 0])}, tmp_path)
    assert frame.to_dict("list") == {
        "part": ["x", "x"], "record": [9, 7], "cell_type": ["A172", "A172"], "area": [4.5, 2.5],
    }  # fmt: skip


def test_names_become_columns(tmp_path):
    values = da.from_array(np.arange(6.0).reshape(3, 2), chunks=(2, 2))
    ds = xr.Dataset({"feature": (("record", "name"), values)}, coords={"name": ["area", "mean"]})
    frame, _, _ = both({"x": ds}, tmp_path)
    assert frame.to_dict("list") == {
        "part": ["x"] * 3, "record": [0, 1, 2], "area": [0, 2, 4], "mean": [1, 3, 5],
    }  # fmt: skip
    with pytest.raises(SchemaError, match=r"names \['area'\] are variables too"):
        write_csv({"x": ds.assign(area=("record", [1, 2, 3]))}, tmp_path, name="other")


def test_parts_of_unlike_variables(tmp_path):
    one = xr.Dataset({"n": ("spot", np.array([1, 2], "u1")), "d": ("spot", [1.5, 2.5])})
    two = xr.Dataset({"n": ("spot", np.array([300], "i4")), "e": ("spot", [True])})
    frame, _, table = both({"one": one, "two": two}, tmp_path)
    assert frame["n"].tolist() == [1, 2, 300]
    assert table.schema.field("n").type == pa.int32()
    assert table.schema.field("e").type == pa.bool_()
    assert table["d"].to_pylist() == [1.5, 2.5, None]
    assert table["e"].to_pylist() == [None, None, True]
    assert frame["d"].isna().tolist() == [False, False, True]
    (path,) = write_parquet({"two": two, "one": one}, tmp_path, name="turned")
    assert pq.read_table(path).schema.field("n").type == pa.int32()
    text = xr.Dataset({"n": ("spot", ["a"])})
    with pytest.raises(SchemaError, match="'n' is text in one part and uint8 in another"):
        write_csv({"one": one, "text": text}, tmp_path, name="other")


def test_rows_are_counted_through_all_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 8)
    ds = xr.Dataset({"area": ("record", da.arange(30, chunks=7))})
    frame, _, table = both({"x": ds, "y": ds}, tmp_path)
    assert frame["record"].tolist() == table["record"].to_pylist() == [*range(30)] * 2


def test_gates_become_columns_beside_features(tmp_path):
    ds = xr.Dataset(
        {
            "feature": (("record", "name"), np.arange(6.0).reshape(3, 2)),
            "gate": (("record", "gate_name"), [[True, False], [False, True], [True, True]]),
        },
        {"name": ["area", "mean"], "gate_name": ["large", "bright"]},
    )
    frame, _, table = both({"x": ds}, tmp_path)
    assert frame.to_dict("list") == {
        "part": ["x"] * 3, "record": [0, 1, 2], "area": [0, 2, 4], "mean": [1, 3, 5],
        "large": [True, False, True], "bright": [False, True, True],
    }  # fmt: skip
    assert table.schema.field("large").type == pa.bool_()
    with pytest.raises(SchemaError, match=r"names \['area'\] are variables too"):
        write_csv({"x": ds.assign_coords(gate_name=["area", "b"])}, tmp_path, name="other")
    with pytest.raises(SchemaError, match=r"names \['part'\] are variables too"):
        write_csv({"x": ds.assign_coords(name=["part", "b"])}, tmp_path, name="other")


def _fail(block):
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("writer", "options"), [("csv", {}), ("parquet", {}), ("parquet", {"partitioned": True})]
)
def test_nothing_is_left_of_a_writer_that_fails(writer, options, tmp_path):
    """Neither the first of two tables, nor the first of two parts; then it can be done again."""
    ds = quality().assign(frames=3)
    broken = ds.assign(
        frame_snr=ds["frame_snr"].copy(data=ds["frame_snr"].data.map_blocks(_fail, dtype="f8"))
    )
    with pytest.raises(OSError, match="the disk is gone"):
        writers.export({"a": ds, "b": broken}, writer, tmp_path, **options)
    assert not list(tmp_path.iterdir())
    left = tmp_path / (".table_t_c" + ("" if options else f".{writer}") + ".partial")
    left.mkdir()  # of a writer that was killed
    (left / "part=a").mkdir()
    paths = writers.export({"a": ds, "b": ds}, writer, tmp_path, **options)
    assert all(Path(path).is_file() for path in paths)
    assert not list(tmp_path.rglob("*.partial"))


def test_only_some_variables(tmp_path):
    ds = quality().assign(image=(("y", "x"), np.zeros((2, 2))))
    with pytest.raises(SchemaError, match=r"a: variable 'image' has pixels \(y, x\), which no"):
        write_csv({"a": ds}, tmp_path)
    frame, _, _ = both({"a": ds}, tmp_path, variables="frame_snr")
    assert frame.columns.tolist() == ["part", "t", "c", "frame_snr"]
    frame, _, _ = both({"a": ds}, tmp_path / "b", variables=["quality_flag", "frame_snr"])
    assert set(frame.columns) == {"part", "t", "c", "quality_flag", "frame_snr"}
    with pytest.raises(SchemaError, match=r"a: no variable 'snr'\. Found: frame_snr"):
        write_csv({"a": ds}, tmp_path, variables="snr")


def test_written_some_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 8)
    parts = {"a": quality(10, chunks=(3, 1)), "b": quality(1)}
    seen = []
    kept = tables._frame

    def frame(ds, *rest):
        seen.append(ds.sizes["t"])
        return kept(ds, *rest)

    monkeypatch.setattr(tables, "_frame", frame)
    found = both(parts, tmp_path)[2].to_pandas()
    # 8 rows are 4 frames of 2 channels; 3 of them are whole blocks
    assert seen == [3, 3, 3, 1, 1] * 2
    np.testing.assert_array_equal(found["frame_snr"][:20], parts["a"]["frame_snr"].values.ravel())


def test_empty(tmp_path):
    frame, _, table = both({"a": quality(0)}, tmp_path)
    assert frame.columns.tolist() == ["part", "t", "c", "frame_snr", "quality_flag"]
    assert len(frame) == table.num_rows == 0
    with pytest.raises(SchemaError, match="no variables to write as a table"):
        write_parquet({"a": xr.Dataset()}, tmp_path)


def test_wrong_use(tmp_path):
    write_csv({"a": quality()}, tmp_path)
    with pytest.raises(UsageError, match=r"table\.csv: is there already"):
        write_csv({"a": quality()}, tmp_path)
    with pytest.raises(SchemaError, match="'part' is the column of the stems"):
        write_csv({"a": quality().assign(part=1)}, tmp_path, name="b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.columns.json", "table.csv"]


def test_a_part_is_a_folder_that_others_read(tmp_path):
    values = np.arange(12.0).reshape(4, 3)
    ds = xr.Dataset({"feature": (("record", "name"), values)}, {"name": ["a", "b", "c"]})
    parts = {"E_+SEA": ds.chunk({"record": 3}), "E_-SEA é": ds + 100}
    written = writers.export(parts, "parquet", tmp_path, partitioned=True)
    assert [Path(path).relative_to(tmp_path).as_posix() for path in written] == [
        "table/part=E_%2BSEA/0.parquet",
        "table/part=E_-SEA %C3%A9/0.parquet",
    ]
    table = pq.read_table(tmp_path / "table", partitioning="hive").to_pandas()
    assert table["part"].astype(str).tolist() == ["E_+SEA"] * 4 + ["E_-SEA é"] * 4
    np.testing.assert_array_equal(table[["a", "b", "c"]], np.concatenate([values, values + 100]))
    one = pq.read_table(tmp_path / "table", filters=[("part", "==", "E_+SEA")])
    assert one.num_rows == 4
    with pytest.raises(UsageError, match="is there already"):
        writers.export(parts, "parquet", tmp_path, partitioned=True)


def test_a_wide_table_is_written_in_smaller_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 64)
    ds = xr.Dataset({"feature": (("record", "name"), np.ones((40, 160)))})
    ds = ds.assign_coords(name=[f"f{i}" for i in range(160)])
    (path,) = writers.export({"p": ds}, "parquet", tmp_path)
    assert pq.ParquetFile(path).num_row_groups == 8  # 64 // (1 + 161 // 16) = 5 rows each
