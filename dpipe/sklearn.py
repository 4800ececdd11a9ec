"""The features as scikit-learn takes them: transformers over a table of files, as scifAI has them.

Who extracts features with scifAI changes one import::

    from dpipe.sklearn import FeatureExtractor, features   # was: from scifAI.ml import ...

    metadata = metadata_generator(folder)   # of this module too, or a table kept from before
    union = FeatureUnion([("shape", features.CellShape()), ("glcm", features.GLCMFeatures())])
    extractor = FeatureExtractor(Pipeline([("features", union)]))
    table = pd.DataFrame(extractor.extract_features(metadata))
    model = Pipeline([("features", FeatureExtractor(union)), ("trees", RandomForestClassifier())])

This module knows scikit-learn's and scifAI's manners. Of millions of pictures a run keeps the
features in a store; here they are computed at once, in this process.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dpipe import schema, sources
from dpipe.compute import compute
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.operators import NINE, cell_features, segment_cells
from dpipe.readers import SUFFIXES, find, open_ifc

try:
    from sklearn.base import BaseEstimator, TransformerMixin
    from sklearn.utils.validation import check_is_fitted
except ImportError as error:  # pragma: no cover  the tests have it
    raise ImportError("dpipe.sklearn needs scikit-learn; install dpipe[tables]") from error

__all__ = ["FeatureExtractor", "features", "metadata_generator"]

_FILES = 4096
"""So many files of a folder are read at a time."""


class FeatureExtractor(TransformerMixin, BaseEstimator):
    """Measures the pictures of a table of files.

    Parameters
    ----------
    feature_unions : Pipeline, FeatureUnion, transformer, or sequence of str, optional
        What is measured: a union of the classes in `features`, a pipeline of one, one of the
        classes, or names of families; by default scifAI's nine.
    prepare : callable, optional
        ``prepare(collection)`` returns the collection that is measured, for example compensated.
        By default masks are made where files have none, as scifAI does.

    Examples
    --------
    >>> FeatureExtractor(features.GradientRMS()).families()
    ('gradient-rms',)
    """

    def __init__(
        self,
        feature_unions: Any = None,
        *,
        prepare: Callable[[xr.Dataset], xr.Dataset] | None = None,
    ) -> None:
        self.feature_unions = feature_unions
        self.prepare = prepare

    def families(self) -> tuple[str, ...]:
        """Return the names of the families that are measured, in the order of the columns.

        Returns
        -------
        tuple of str
            As ``cell_features`` knows them.

        Raises
        ------
        UsageError
            A union of something else than the classes in `features`.
        """
        if self.feature_unions is None:
            return NINE
        return tuple(dict.fromkeys(_families(self.feature_unions)))

    def fit(self, metadata: pd.DataFrame, y: Any = None) -> "FeatureExtractor":
        """Learn the names of the columns from the first file that can be read.

        Parameters
        ----------
        metadata : pandas.DataFrame
            With the column ``file``: paths of pictures.
        y : object
            Not looked at.

        Returns
        -------
        FeatureExtractor
            This one.

        Raises
        ------
        InputError
            No file can be read.
        """
        for _, ds in _opened(_paths(metadata)):
            self.feature_names_in_ = np.array(metadata.columns, dtype=object)
            self.n_features_in_ = metadata.shape[1]
            self.names_ = np.array(self._features(ds)["name"].values.tolist(), dtype=object)
            return self
        raise InputError("no picture of the table can be read; look at its paths")

    def transform(self, metadata: pd.DataFrame) -> pd.DataFrame:
        """Measure every picture.

        Parameters
        ----------
        metadata : pandas.DataFrame
            As for `fit`; a file may stand in several rows.

        Returns
        -------
        pandas.DataFrame
            A row each row of `metadata`, with its index; NaN for files that cannot be read, of
            which a warning says how many.

        Raises
        ------
        SchemaError
            Pictures with another number of channels than those of `fit`.
        """
        rows, known = self._measured(metadata)
        lost = np.flatnonzero(~known)
        if lost.size:
            named = ", ".join(
                str(path).rpartition("/")[2] for path in metadata["file"].iloc[lost[:3]]
            )
            warnings.warn(
                f"{lost.size} of {len(rows)} pictures cannot be read ({named}"
                f"{', ...' * (lost.size > 3)}): NaN; leave these rows out before training",
                UserWarning,
                stacklevel=2,
            )
        return pd.DataFrame(rows, index=metadata.index, columns=self.names_)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns.

        Parameters
        ----------
        input_features : object
            Not looked at.

        Returns
        -------
        numpy.ndarray of object
            scifAI's names.
        """
        del input_features
        check_is_fitted(self)
        return self.names_

    def extract_features(self, metadata: pd.DataFrame, n_jobs: int = -1) -> list[Any]:
        """Measure every picture and return what scifAI's method of that name returns.

        Parameters
        ----------
        metadata : pandas.DataFrame
            With the column ``file``.
        n_jobs : int
            Not looked at: the kernels use what there is.

        Returns
        -------
        list
            A dict by name for each row, an empty list for a file that cannot be read.
        """
        del n_jobs
        values, sound = self.fit(metadata)._measured(metadata)
        rows = [dict(zip(self.names_, row, strict=True)) for row in values.tolist()]
        return [row if known else [] for known, row in zip(sound, rows, strict=True)]

    def _features(self, ds: xr.Dataset) -> xr.Dataset:
        ds = (self.prepare or _masked)(ds)
        return cell_features(ds, families=self.families()).assign(sound=_sound(ds))

    def _measured(self, metadata: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of each row of the table, and whether its file could be read."""
        check_is_fitted(self)
        paths = _paths(metadata)
        rows, known = np.full((len(paths), len(self.names_)), np.nan), np.zeros(len(paths), bool)
        for at, ds in _opened(paths):
            table = self._features(ds)
            if table["name"].values.tolist() != self.names_.tolist():
                raise SchemaError(
                    f"{paths[at[0]]}: {table.sizes['name']} numbers a picture; expected "
                    f"{len(self.names_)}: fit again, or take out what has other channels"
                )
            values, sound = compute(table["feature"].data, table["sound"].data)
            names = table["file"].values.tolist()
            place = {name: k for k, name in enumerate(names) if sound[k]}
            for i in at:
                name = paths[i].rpartition("/")[2]
                if name in place:
                    rows[i], known[i] = values[place[name]], True
        return rows, known


class _Family(TransformerMixin, BaseEstimator):
    """One family of numbers; over a table of files it is a transformer of its own."""

    family = ""

    def fit(self, metadata: pd.DataFrame, y: Any = None) -> "_Family":
        self.extractor_ = FeatureExtractor(self.family).fit(metadata)
        return self

    def transform(self, metadata: pd.DataFrame) -> pd.DataFrame:
        check_is_fitted(self)
        return self.extractor_.transform(metadata)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        check_is_fitted(self)
        return self.extractor_.get_feature_names_out(input_features)


def _class(name: str, family: str) -> type[_Family]:
    """Make a class of scifAI's name; it is found by that name, so that it can be pickled."""
    made = type(name, (_Family,), {"family": family, "__doc__": f"The family {family}."})
    made.__module__, made.__qualname__ = __name__, f"features.{name}"
    return made


features = SimpleNamespace(
    MaskBasedFeatures=_class("MaskBasedFeatures", "mask-based"),
    GLCMFeatures=_class("GLCMFeatures", "glcm"),
    GradientRMS=_class("GradientRMS", "gradient-rms"),
    BackgroundMean=_class("BackgroundMean", "background-mean"),
    PercentileFeatures=_class("PercentileFeatures", "percentiles"),
    CellShape=_class("CellShape", "cell-shape"),
    Collocalization=_class("Collocalization", "colocalisation"),
    IntersectionProperties=_class("IntersectionProperties", "intersections"),
    CenterOfCellsDistances=_class("CenterOfCellsDistances", "cell-distances"),
    HogFeatures=_class("HogFeatures", "hog"),
)
"""scifAI's classes of features by their names there; they take no parameters."""


_LEVELS = ("experiment", "donor", "condition")


def metadata_generator(data_path: str) -> pd.DataFrame:
    """List the pictures of a tree ``experiment/donor/condition/*.h5``, as scifAI's function does.

    Parameters
    ----------
    data_path : str
        A folder, on disk or in a bucket.

    Returns
    -------
    pandas.DataFrame
        A row a file: ``file``, ``experiment``, ``donor``, ``condition``, ``object_number``,
        ``set`` (labeled, unlabeled) and ``label`` ("-1" for none). Files that are no pictures
        are in it too.

    Raises
    ------
    UsageError
        Nothing is there, or no HDF5 files.
    InputError
        A folder without one picture that can be read.
    """
    tables = []
    for part in find(sources.walk_items(data_path)):
        ds = open_ifc(part.items[0].uri, levels=_LEVELS)
        names = ("file", *_LEVELS, "object_number", "set", "label")
        table = pd.DataFrame({name: ds[name].values for name in names})
        tables.append(table.assign(file=part.items[0].uri + "/" + table["file"]))
    if not tables:
        raise UsageError(f"{data_path}: no .h5 files; expected experiment/donor/condition/*.h5")
    return pd.concat(tables, ignore_index=True)


def _families(union: Any) -> Iterator[str]:
    if isinstance(union, _Family):
        yield union.family
    elif isinstance(union, str):
        yield union
    elif hasattr(union, "transformer_list") or hasattr(union, "steps"):
        held = union.transformer_list if hasattr(union, "transformer_list") else union.steps
        for _, each in held:
            if not isinstance(each, str):  # "drop", "passthrough"
                yield from _families(each)
    elif isinstance(union, Sequence):
        for each in union:
            yield from _families(each)
    else:
        raise UsageError(
            f"found {type(union).__name__}; expected a FeatureUnion of the classes in "
            "dpipe.sklearn.features, one of them, or names of families: what comes after goes "
            "behind the extractor"
        )


def _masked(ds: xr.Dataset) -> xr.Dataset:
    """Make masks where there are none."""
    lacking = (ds["mask_dtype"].values == "") & (ds["height"].values > 0)
    if not lacking.any():
        return ds
    return segment_cells(ds).merge(ds, compat="override", join="override")


def _sound(ds: xr.Dataset) -> xr.DataArray:
    """Tell of each picture whether it can be read."""
    sound = ds["height"] > 0
    if "picture_flag" in ds:
        flags = ds["picture_flag"].sel(block=ds["in_block"]).isel(slot=ds["in_slot"])
        sound = sound & ((flags & schema.UNREADABLE) == 0)
    return sound.chunk()


def _paths(metadata: pd.DataFrame) -> list[str]:
    if "file" not in metadata:
        raise UsageError("a table of pictures needs the column 'file', their paths")
    return [sources.resolve_uri(str(path)) for path in metadata["file"]]


def _opened(paths: Sequence[str]) -> Iterator[tuple[list[int], xr.Dataset]]:
    """Yield rows of the table, and the collection that holds their pictures, folder by folder."""
    folders: dict[str, list[int]] = {}
    for i, path in enumerate(paths):
        folders.setdefault(path.rpartition("/")[0], []).append(i)
    for folder, rows in folders.items():
        there = _files(folder)
        found = [i for i in rows if paths[i] in there]
        for first in range(0, len(found), _FILES):
            some = found[first : first + _FILES]
            try:
                yield some, open_ifc(list(dict.fromkeys(paths[i] for i in some)), levels="")
            except InputError:  # none can be read
                continue


def _files(folder: str) -> set[str]:
    """Return the pictures of a folder; none where there is no folder."""
    try:
        found = {item.uri for item in sources.walk_items(folder)}
    except (InputError, UsageError):
        return set()
    return {uri for uri in found if uri.lower().endswith(SUFFIXES)}
