"""The features as scikit-learn takes them: transformers over a table of files, as scifAI has them.

Who extracts features with scifAI changes one import::

    from dpipe.sklearn import FeatureExtractor, features   # was: from scifAI.ml import ...

    union = FeatureUnion([("shape", features.CellShape()), ("glcm", features.GLCMFeatures())])
    table = pd.DataFrame(FeatureExtractor(union).extract_features(metadata))
    model = Pipeline([("features", FeatureExtractor(union)), ("trees", RandomForestClassifier())])

This module knows scikit-learn's and scifAI's manners. Of millions of pictures a run keeps the
features in a store; here they are computed at once, in this process.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dpipe.blocks import compute
from dpipe.errors import InputError, SchemaError, UsageError
from dpipe.operators.cell_features import NINE, cell_features
from dpipe.operators.segment_cells import segment_cells
from dpipe.readers.ifc import open_ifc

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ImportError as error:  # pragma: no cover  the tests have it
    raise ImportError("dpipe.sklearn needs scikit-learn; install dpipe[tables]") from error

__all__ = ["FeatureExtractor", "features"]

_FILES = 4096
"""So many files of a folder are read at a time."""


class FeatureExtractor(TransformerMixin, BaseEstimator):
    """Measures the pictures of a table of files.

    Parameters
    ----------
    feature_unions : FeatureUnion, transformer, or sequence of str, optional
        What is measured: a union of the classes in `features`, one of them, or names of families;
        by default scifAI's nine.
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
            self.feature_names_in_ = np.array(["file"], dtype=object)
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
            A row each row of `metadata`, with its index; NaN for files that cannot be read.

        Raises
        ------
        SchemaError
            Pictures with another number of channels than those of `fit`.
        """
        paths = _paths(metadata)
        rows = np.full((len(paths), len(self.names_)), np.nan)
        for at, ds in _opened(paths):
            table = self._features(ds)
            if table["name"].values.tolist() != self.names_.tolist():
                raise SchemaError(
                    f"{paths[at[0]]}: {table.sizes['name']} numbers a picture; expected "
                    f"{len(self.names_)}: fit again, or take out what has other channels"
                )
            (values,) = compute(table["feature"].data)
            order = {str(name): i for i, name in enumerate(table["file"].values)}
            rows[at] = values[[order[PurePosixPath(paths[i]).name] for i in at]]
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
        table = self.fit(metadata).transform(metadata)
        missing = table.isna().all(axis=1).tolist()
        rows = table.to_dict(orient="records")
        return [[] if gone else row for gone, row in zip(missing, rows, strict=True)]

    def _features(self, ds: xr.Dataset) -> xr.Dataset:
        return cell_features((self.prepare or _masked)(ds), families=self.families())


class _Family(TransformerMixin, BaseEstimator):
    """One family of numbers; over a table of files it is a transformer of its own."""

    family = ""

    def fit(self, metadata: pd.DataFrame, y: Any = None) -> "_Family":
        self.extractor_ = FeatureExtractor(self).fit(metadata)
        return self

    def transform(self, metadata: pd.DataFrame) -> pd.DataFrame:
        return self.extractor_.transform(metadata)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
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


def _families(union: Any) -> Iterator[str]:
    if isinstance(union, _Family):
        yield union.family
    elif isinstance(union, str):
        yield union
    elif hasattr(union, "transformer_list"):
        for _, each in union.transformer_list:
            yield from _families(each)
    elif isinstance(union, Sequence):
        for each in union:
            yield from _families(each)
    else:
        raise UsageError(
            f"found {type(union).__name__}; expected a FeatureUnion of the classes in "
            "dpipe.sklearn.features, one of them, or names of families"
        )


def _masked(ds: xr.Dataset) -> xr.Dataset:
    """Make masks where there are none."""
    lacking = (ds["mask_dtype"].values == "") & (ds["height"].values > 0)
    if not lacking.any():
        return ds
    return segment_cells(ds).merge(ds, compat="override", join="override")


def _paths(metadata: pd.DataFrame) -> list[str]:
    if "file" not in metadata:
        raise UsageError("a table of pictures needs the column 'file', their paths")
    return [str(path) for path in metadata["file"]]


def _opened(paths: Sequence[str]) -> Iterator[tuple[list[int], xr.Dataset]]:
    """Yield rows of the table, and the collection that holds their pictures, folder by folder."""
    folders: dict[str, list[int]] = {}
    for i, path in enumerate(paths):
        folders.setdefault(str(PurePosixPath(path).parent), []).append(i)
    for rows in folders.values():
        for first in range(0, len(rows), _FILES):
            some = rows[first : first + _FILES]
            try:
                yield some, open_ifc(list(dict.fromkeys(paths[i] for i in some)), levels="")
            except (InputError, UsageError):  # none can be read, or the folder is not there
                continue
