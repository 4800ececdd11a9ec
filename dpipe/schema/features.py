"""Names of what is done with a table of features: statistics, gates, samples, splits, classes.

A table of features is ``feature(record, name)`` with what is known of each record as coordinates.
Statistics lie over ``name`` and can be merged: number, mean and sum of squared deviations of the
finite values of a column, their extremes, and how many values are missing or infinite.
"""

from dpipe.schema.variable import Variable


def _feature(name: str, meaning: str, kinds: str = "f") -> Variable:
    return Variable(f"feature_{name}", ("name",), kinds, "1", meaning)


FEATURE_COUNT = _feature("count", "number of finite values of a feature", "u")
FEATURE_MISSING = _feature("missing", "number of values of a feature that are NaN", "u")
FEATURE_INFINITE = _feature("infinite", "number of infinite values of a feature", "u")
FEATURE_MEAN = _feature("mean", "mean of the finite values of a feature, NaN without")
FEATURE_SQUARES = _feature("squares", "sum of squared deviations of them from their mean")
FEATURE_MIN = _feature("min", "least finite value of a feature, NaN without")
FEATURE_MAX = _feature("max", "largest finite value of a feature, NaN without")
FEATURE_STATISTICS = (
    *(FEATURE_COUNT, FEATURE_MISSING, FEATURE_INFINITE),
    *(FEATURE_MEAN, FEATURE_SQUARES, FEATURE_MIN, FEATURE_MAX),
)
"""What can be merged, in the order in which the kernels hold it."""
FEATURE_STD = _feature("std", "standard deviation of the finite values (ddof 1), NaN below two")

GATE = Variable("gate", ("record", "gate_name"), "b", "1", "whether a record is inside a gate")
NO_LABEL = "-1"
"""What stands for the label of a record without one."""

SAMPLED = Variable("sampled", ("record",), "b", "1", "whether a record is in the sample")
RECORD_SPLIT = Variable(
    "split", ("record",), "U", "1", "what a record is used for: train, validation, test, or empty"
)
OF_TABLES = {RECORD_SPLIT.name: RECORD_SPLIT}
"""What these names mean over records; over movies they mean something else."""

RATING = Variable("rating", ("record", "rater"), "U", "1", "class that a rater gave, empty none")
KAPPA = Variable(
    "kappa", ("rater", "other"), "f", "1", "Cohen's kappa of two raters, NaN where chance is all"
)
RATER_AGREEMENT = Variable(
    "rater_agreement", ("rater", "other"), "f", "1", "share of records of one class with both"
)
RATED_BY_BOTH = Variable(
    "rated_by_both", ("rater", "other"), "u", "1", "number of records that both raters gave a class"
)

CLASS_COUNT = Variable(
    "class_count", ("measure", "sample"), "u", "1", "number of records of a class in a sample"
)
CLASS_FREQUENCY = Variable(
    "class_frequency", ("measure", "sample"), "f", "1", "share of a class in a sample"
)
