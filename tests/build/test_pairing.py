"""Which parts of several inputs have no partner."""

import pytest

from dpipe.build.pairing import unpaired


@pytest.mark.parametrize(
    ("held", "lines"),
    [
        ({"a": ["x", "y"]}, []),
        ({"a": ["x", "y"], "b": ["y", "x"]}, []),
        ({"a": ["x"], "b": ["x", "y"], "c": ["x"]},
         ["1 of 2 parts of b left out, without a partner in a, c: y"]),
        ({"a": list("stuvwxyz"), "b": ["z"]},
         ["7 of 8 parts of a left out, without a partner in b: s, t, u, v, w, ..."]),
        ({"a": ["Neu 1"], "b": ["neu-1"]},
         ["1 of 1 parts of a left out, without a partner in b: Neu 1 ('neu-1' there: rename one)",
          "1 of 1 parts of b left out, without a partner in a: neu-1 ('Neu 1' there: rename one)"]),
    ],
    ids=["one", "alike", "three", "many", "spelled"],
)  # fmt: skip
def test_unpaired(held, lines):
    assert unpaired(held) == lines
