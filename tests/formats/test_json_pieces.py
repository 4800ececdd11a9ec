"""Values of lists and objects, cut out of their text as Python's own parser sees them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpipe.formats import json_pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(params=[1, 2, 7, 1 << 20])
def window(request, monkeypatch):
    monkeypatch.setattr(json_pieces, "_WINDOW", request.param)


def cut(text):
    return [json.loads(bytes(piece)) for piece in json_pieces.pieces(text.encode())]


@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 1]), st.booleans())
@settings(deadline=None)
def test_values_of_lists(values, indent, ascii_only):
    assert cut(json.dumps(values, indent=indent, ensure_ascii=ascii_only)) == values


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.sampled_from([None, 1]))
@settings(deadline=None)
def test_values_of_objects(values, indent):
    assert cut(json.dumps(values, indent=indent)) == list(values.values())


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize(
    "values",
    [[], {}, [1], [[]], ['a\\"],[', {"b,]": "}"}], {"k:": [1, {"x": "\\\\"}], "l": 3, "": None}],
)
def test_windows_of_any_size(values):
    expected = list(values.values()) if isinstance(values, dict) else values
    for text in (json.dumps(values), f" \n{json.dumps(values, indent=2)}\n "):
        assert cut(text) == expected


def test_what_was_read_is_released():
    values = [list(range(50))] * 30_000
    text, told = json.dumps(values).encode(), []
    pieces = json_pieces.pieces(text, told.append)
    assert sum(1 for _ in pieces) == 30_000
    assert np.all(np.diff(told) >= 0)
    assert told[-1] >= len(text) - 1000
