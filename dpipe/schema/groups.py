"""Names of what compares groups of movies: one number a movie, and tests between the groups.

A dataset of tests lies over ``measure`` (names of variables; ``measure_unit`` says their units),
``group``, ``pair`` (two groups, as in ``"Den : Neu"``) and ``movie`` (stems; ``movie_group``).
"""

from dpipe.schema.variable import Variable

MEASURE_UNIT = Variable("measure_unit", ("measure",), "U", "1", "unit of a measure")
MEASURE_VALUE = Variable(
    "measure_value", ("measure", "movie"), "f", "1", "a movie's mean, in the unit of the measure"
)
MOVIE_GROUP = Variable("movie_group", ("movie",), "U", "1", "group of a movie, empty none")
GROUP_SIZE = Variable(
    "group_size", ("measure", "group"), "u", "1", "number of movies of a group that have a number"
)
GROUP_LEFT_OUT = Variable(
    "group_left_out", ("measure", "group"), "u", "1", "number of movies of a group that have none"
)
GROUP_MEDIAN = Variable(
    "group_median", ("measure", "group"), "f", "1", "median over movies, in the measure's unit"
)
KRUSKAL_H = Variable(
    "kruskal_h", ("measure",), "f", "1", "H of Kruskal and Wallis over all groups, ties corrected"
)
KRUSKAL_P = Variable("kruskal_p", ("measure",), "f", "1", "p of Kruskal and Wallis")
PAIR_U = Variable(
    "pair_u", ("measure", "pair"), "f", "1", "U of Mann and Whitney, of the first of two groups"
)
PAIR_P = Variable(
    "pair_p", ("measure", "pair"), "f", "1", "two-sided p of Mann and Whitney between two groups"
)
KRUSKAL_METHOD = Variable(
    "kruskal_method", ("measure",), "U", "1", "how p was found: exact, permutations or asymptotic"
)
PAIR_METHOD = Variable(
    "pair_method", ("measure", "pair"), "U", "1", "how p was found, as in kruskal_method"
)
PAIR_STARS = Variable(
    "pair_stars", ("measure", "pair"), "U", "1", "* p < 0.05, ** < 0.01, *** < 0.001, ns, or empty"
)
