"""Features as scikit-learn takes them: the columns of scifAI, pipelines, and files that fail."""

import pickle
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_closing
from skimage.morphology import disk

from dpipe.errors import InputError, SchemaError, UsageError

pytest.importorskip("sklearn")
import joblib
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from dpipe.sklearn import FeatureExtractor, features, metadata_generator


def write(path: Path, seed: int, channels: int = 2) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    shape = (9 + seed % 3, 11, channels)
    with h5py.File(path, "w") as file:
        file["image"] = rng.integers(1, 4000, shape, dtype="u2")
        file["mask"] = np.ones(shape, "u1")
    return str(path)


@pytest.fixture
def metadata(tmp_path) -> pd.DataFrame:
    """Seven pictures in two folders, not in the order of their names; two of the same name."""
    names = ["a/x_10.h5", "b/x_1.h5", "a/x_9.h5", "a/x_1.h5", "b/x_2.h5", "b/x_3.h5", "a/x_2.h5"]
    files = [write(tmp_path / name, seed) for seed, name in enumerate(names)]
    return pd.DataFrame({"file": files, "label": list("TBTBTBT")}, index=range(100, 107))


def union() -> FeatureUnion:
    return FeatureUnion([("b", features.BackgroundMean()), ("r", features.GradientRMS())])


def test_rows_are_those_of_the_table(metadata):
    found = FeatureExtractor("cell-shape").fit_transform(metadata)
    assert found.index.tolist() == metadata.index.tolist()
    for path, total in zip(metadata["file"], found["sum_intensity_Ch2"], strict=True):
        with h5py.File(path) as file:
            assert file["image"][..., 1].sum() == total


def test_real_cells_get_the_numbers_of_scifai(shared_data):
    """Two families of the 858 reference columns; all of them are the operator's own tests."""
    files = sorted((shared_data / "ifc" / "h5").rglob("*.h5"), reverse=True)
    made = FeatureExtractor([features.CellShape(), features.GradientRMS()])
    found = made.fit_transform(
        pd.DataFrame({"file": map(str, files)}, index=[f.name for f in files])
    )
    table = pd.read_csv(shared_data / "ifc" / "reference" / "scifAI_features_b20baec.csv.gz")
    expected = table.set_index("file").loc[found.index, found.columns]
    assert found.shape == (37, 60)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_a_user_of_scifai_gets_dicts_and_empty_lists(metadata, tmp_path):
    (tmp_path / "a" / "bad.h5").write_bytes(b"rubbish")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "bad.h5").write_bytes(b"rubbish")
    more = [str(tmp_path / name) for name in ("a/bad.h5", "c/bad.h5")]
    table = pd.concat([metadata, pd.DataFrame({"file": more})], ignore_index=True)
    rows = FeatureExtractor(union()).extract_features(table, n_jobs=4)
    assert [len(row) for row in rows] == [4] * 7 + [0, 0]
    assert rows[7:] == [[], []]
    assert list(rows[0]) == [
        f"{f}_Ch{c}" for f in ("background_mean", "gradient_RMS") for c in "12"
    ]


def test_the_lines_of_scifai_as_its_readme_has_them(metadata):
    """A union in a pipeline in an extractor, asked for some rows of the table, then for a frame."""
    pipeline = Pipeline([("features", union())])
    extractor = FeatureExtractor(pipeline)
    some = metadata.loc[102:104, :]
    names = extractor.extract_features(some)[0].keys()
    table = pd.DataFrame(extractor.extract_features(metadata)).fillna(0.0)
    assert table.shape == (7, 4)
    assert list(table) == list(names)
    assert list(table.loc[:, table.std() > 0.0]) == ["gradient_RMS_Ch1", "gradient_RMS_Ch2"]


def test_the_table_of_a_tree(tmp_path, metadata):
    """Blanks that end a folder's name are the disk's; the file is found by its own name."""
    for folder, name in (("-SEA ", "x_7"), ("+SEA", "x_2"), ("+SEA", "x_10")):
        write(tmp_path / "tree" / "Experiment_1" / "Donor_2" / folder / f"{name}.h5", seed=1)
    with h5py.File(tmp_path / "tree/Experiment_1/Donor_2/+SEA/x_2.h5", "a") as file:
        file["label"] = "T_cell"
    (tmp_path / "tree/Experiment_1/Donor_2/+SEA/x_3.h5").write_bytes(b"rubbish")
    table = metadata_generator(str(tmp_path / "tree"))
    columns = "file experiment donor condition object_number set label".split()
    assert list(table) == columns
    assert table[columns[1:]].values.tolist() == [
        ["Experiment_1", "Donor_2", "+SEA", 2, "labeled", "T_cell"],
        ["Experiment_1", "Donor_2", "+SEA", 3, "unlabeled", "-1"],
        ["Experiment_1", "Donor_2", "+SEA", 10, "unlabeled", "-1"],
        ["Experiment_1", "Donor_2", "-SEA", 7, "unlabeled", "-1"],
    ]
    rows = FeatureExtractor(features.GradientRMS()).extract_features(table)
    assert [len(row) for row in rows] == [2, 0, 2, 2]
    Path(tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.txt").write_text("nothing")
    with pytest.raises(UsageError, match=r"no \.h5 files"):
        metadata_generator(str(tmp_path / "none"))


def test_a_picture_of_nothing_but_nan_was_read_all_the_same(metadata):
    """Its mask leaves no background; an empty list would say that the file is broken."""
    rows = FeatureExtractor(features.BackgroundMean()).extract_features(metadata)
    assert [list(row) for row in rows] == [["background_mean_Ch1", "background_mean_Ch2"]] * 7
    assert np.isnan([list(row.values()) for row in rows]).all()


def test_a_missing_file_takes_no_other_with_it(metadata):
    more = [metadata["file"][100].replace("x_10", name) for name in ("x_77", "notes.txt")]
    Path(more[1]).write_text("no picture")
    table = pd.DataFrame({"file": [more[0], *metadata["file"], *more]})
    with pytest.warns(
        UserWarning, match=r"3 of 10 pictures cannot be read \(x_77.*, x_77.*, notes"
    ):
        found = FeatureExtractor("gradient-rms").fit_transform(table)
    expected = FeatureExtractor("gradient-rms").fit_transform(metadata)
    np.testing.assert_array_equal(found[1:8], expected)
    assert found.iloc[[0, 8, 9]].isna().all(axis=None)


def test_truncated_pixels_are_found_when_they_are_read(metadata):
    """The header is sound, the pixels end early."""
    path = Path(metadata["file"][101])
    path.write_bytes(path.read_bytes()[:-200])
    rows = FeatureExtractor("percentiles").extract_features(metadata)
    assert [len(row) for row in rows] == [18, 0, 18, 18, 18, 18, 18]


def test_what_was_prepared_away_is_missing(metadata):
    def all_but_tens(ds):
        return ds.isel(record=ds.file.values != "x_10.h5")

    with pytest.warns(UserWarning, match=r"1 of 7 pictures cannot be read \(x_10.h5\): NaN; leave"):
        found = FeatureExtractor("percentiles", prepare=all_but_tens).fit_transform(metadata)
    assert found.isna().all(axis=1).tolist() == [True] + [False] * 6


def test_it_keeps_the_manners_of_scikit_learn(metadata, tmp_path):
    extractor = FeatureExtractor(Pipeline([("u", union())]))
    for asked in (extractor, features.CellShape()):
        with pytest.raises(NotFittedError):
            asked.transform(metadata)
        with pytest.raises(NotFittedError):
            asked.get_feature_names_out()
    assert extractor.get_params()["feature_unions__u"].transformer_list[0][0] == "b"
    assert clone(extractor).set_params(feature_unions__u__r="drop").families() == (
        "background-mean",
    )
    made = clone(extractor).fit(metadata)
    assert made.n_features_in_ == len(made.feature_names_in_) == 2
    joblib.dump(made, tmp_path / "made.joblib")
    again = joblib.load(tmp_path / "made.joblib").transform(metadata)
    np.testing.assert_array_equal(again, made.transform(metadata))
    both = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(made.transform)(metadata.iloc[rows]) for rows in (slice(3), slice(3, 7))
    )
    np.testing.assert_array_equal(pd.concat(both), again)


@pytest.mark.parametrize("kind", ["default", "pandas"])
def test_the_output_is_what_was_set(kind, metadata):
    names = [f"{f}_Ch{c}" for f in ("background_mean", "gradient_RMS") for c in "12"]
    made = FeatureExtractor(union()).set_output(transform=kind)
    assert list(made.fit_transform(metadata)) == names
    frame = union().set_output(transform="pandas").fit_transform(metadata)
    assert list(frame) == [f"b__{name}" for name in names[:2]] + [f"r__{n}" for n in names[2:]]
    assert frame.index.tolist() == metadata.index.tolist()


def test_what_is_no_family_in_a_pipeline(metadata):
    scaled = Pipeline([("f", features.CellShape()), ("s", StandardScaler())])
    with pytest.raises(UsageError, match="found StandardScaler; expected"):
        FeatureExtractor(scaled).fit(metadata)
    whole = Pipeline([("f", features.CellShape()), ("s", StandardScaler())])
    assert whole.fit_transform(metadata).shape == (7, 18)


def test_it_stands_in_a_pipeline(metadata):
    extractor = FeatureExtractor(union())
    model = Pipeline([("features", extractor), ("guess", DummyClassifier(strategy="prior"))])
    assert model.fit(metadata, metadata["label"]).predict(metadata).tolist() == ["T"] * 7
    names = model[:-1].get_feature_names_out()
    assert names[0] == "background_mean_Ch1"
    assert clone(extractor).families() == ("background-mean", "gradient-rms")
    assert pickle.loads(pickle.dumps(extractor)).families() == extractor.families()


def test_a_union_of_families_is_a_transformer_itself(metadata):
    found = union().fit(metadata)
    expected = FeatureExtractor(union()).fit_transform(metadata)
    np.testing.assert_array_equal(found.transform(metadata), expected)
    assert found.get_feature_names_out()[0] == "b__background_mean_Ch1"


def test_families_and_their_names():
    assert len(FeatureExtractor().families()) == 9
    names = [made().family for made in vars(features).values()]
    assert set(names) == {*FeatureExtractor().families(), "hog"}
    assert FeatureExtractor(["glcm", features.GLCMFeatures()]).families() == ("glcm",)
    with pytest.raises(UsageError, match="found int; expected a FeatureUnion"):
        FeatureExtractor(5).families()


def test_a_collection_is_prepared_before_it_is_measured(metadata):
    def only_first(ds):
        return ds.isel(record=ds.file.values == "x_1.h5")

    found = FeatureExtractor("gradient-rms", prepare=lambda ds: ds).fit_transform(metadata)
    assert np.isfinite(found).all(axis=None)
    assert FeatureExtractor("gradient-rms", prepare=only_first).fit(metadata).names_.size == 2


def test_a_file_without_a_mask_gets_one_as_in_scifai(metadata, tmp_path):
    y, x = np.ogrid[:40, :40]
    dot = ((y - 20) ** 2 + (x - 20) ** 2 < 81) * 900 + (y + x) % 2
    for name, mask in (("m/x_1.h5", True), ("m/x_2.h5", False)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with h5py.File(path, "w") as file:
            file["image"] = np.stack([dot, dot], axis=2).astype("u2")
            if mask:
                file["mask"] = np.ones((40, 40, 2), "u1")
    table = pd.DataFrame({"file": [str(tmp_path / "m" / f"x_{i}.h5") for i in (1, 2)]})
    area = FeatureExtractor("mask-based").fit_transform(table)["mask_based_area_Ch2"]
    closed = binary_closing(dot > 450, disk(5))  # Otsu parts the dot from the rest
    assert area.tolist() == [1600, closed.sum()]


def test_a_file_may_stand_in_several_rows(metadata):
    twice = metadata.iloc[[0, 3, 0]]
    found = FeatureExtractor("gradient-rms").fit_transform(twice)
    assert found.iloc[0].tolist() == found.iloc[2].tolist() != found.iloc[1].tolist()


def test_what_is_refused(metadata, tmp_path):
    with pytest.raises(UsageError, match="needs the column 'file'"):
        FeatureExtractor().fit(pd.DataFrame({"path": ["x"]}))
    with pytest.raises(InputError, match="no picture of the table can be read"):
        FeatureExtractor().fit(pd.DataFrame({"file": [str(tmp_path / "none" / "x_1.h5")]}))
    made = FeatureExtractor("gradient-rms").fit(metadata)
    other = pd.DataFrame({"file": [write(tmp_path / "d" / "x_1.h5", 1, channels=3)]})
    with pytest.raises(SchemaError, match="3 numbers a picture; expected 2"):
        made.transform(other)
