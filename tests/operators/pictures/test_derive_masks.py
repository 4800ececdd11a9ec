"""Masks made of others: what terms mean, and what is no term."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packs import SAMPLE, cells, pack, unpacked
from skimage.morphology import dilation, disk

import dpipe
from dpipe.errors import SchemaError, UsageError
from dpipe.operators.pictures import mask_terms
from dpipe.operators.pictures.mask_terms import parse

NAMES = ["BF", "CD3", "MHCII", "P-CD3zeta"]


def collection(**said):
    pictures = cells(6, channels=4)
    masks = [picture > 35 for picture in pictures]  # every value of the code is there
    pictures[2] = masks[2] = masks[4] = None
    return pack(pictures, masks, names=NAMES, **said)


TERMS = {
    "CD3 & MHCII": lambda b, c, m, p: c & m,
    "CD3 | MHCII & BF": lambda b, c, m, p: c | (m & b),
    "(CD3 | MHCII) & ~BF": lambda b, c, m, p: (c | m) & ~b,
    " 'P-CD3zeta' & ~~CD3": lambda b, c, m, p: p & c,
    "dilate(CD3 & MHCII, 3)": lambda b, c, m, p: dilation(c & m, disk(3)),
    "~dilate('BF', 1) | dilate(CD3, 0)": lambda b, c, m, p: ~dilation(b, disk(1)) | c,
    "dilate(dilate(BF & CD3 & MHCII & 'P-CD3zeta', 2), 2)": lambda b, c, m, p: dilation(
        dilation(b & c & m & p, disk(2)), disk(2)
    ),
}


@pytest.mark.parametrize("text", TERMS)
def test_terms_mean_what_numpy_and_scikit_image_make_of_them(text):
    ds = collection()
    made = dpipe.derive_masks(ds, masks={"new": text})
    assert made.mask_name.values.tolist() == [*NAMES, "new"]
    found = unpacked(made, "mask_code")
    for n, code in enumerate(unpacked(ds, "mask_code")):
        channels = [(code >> k & 1) > 0 for k in range(4)]
        np.testing.assert_array_equal(found[n] & 15, code)  # the old ones stay
        if code.size:
            np.testing.assert_array_equal((found[n] >> 4) > 0, TERMS[text](*channels))


def test_real_cells_a_synapse_mask(shared_data):
    ds = dpipe.open_ifc(shared_data / SAMPLE, channels="BF,A,B,SSC,BF2,C", block=10)
    made = dpipe.derive_masks(ds, masks={"synapse": "dilate(BF & BF2, 3)"})
    both = 0
    for old, new in zip(unpacked(ds, "mask_code"), unpacked(made, "mask_code"), strict=True):
        expected = dilation((old & 1 & (old >> 4)) > 0, disk(3))
        np.testing.assert_array_equal((new >> 6) > 0, expected)
        both += expected.sum()
    assert both > 1000


def test_masks_may_name_those_before_them_in_this_call_or_an_earlier_one():
    ds = collection()
    step = {"meet": "CD3 & MHCII", "around": "dilate(meet, 2) & ~meet"}
    once = dpipe.derive_masks(ds, masks=step)
    first = dpipe.derive_masks(ds, masks={"meet": step["meet"]})
    twice = dpipe.derive_masks(first, masks={"around": step["around"]})
    assert once.identical(twice)
    assert once.mask_name.values.tolist() == [*NAMES, "meet", "around"]


def test_a_mask_that_is_named_often_is_made_once(monkeypatch):
    """Each names the one before it twice: taken apart anew it would be made a million times."""
    calls = []
    monkeypatch.setattr(mask_terms, "dilated", lambda mask, n: calls.append(n) or mask)
    step = {"m0": "dilate(CD3, 2)"} | {f"m{k}": f"m{k - 1} & m{k - 1}" for k in range(1, 21)}
    ds = collection(lazy=False).isel(record=[0])
    made = dpipe.derive_masks(ds, masks=step)
    (old,), (new,) = unpacked(ds, "mask_code"), unpacked(made, "mask_code")
    assert calls == [2]
    np.testing.assert_array_equal(new >> 24, old >> 1 & 1)


def test_signs_and_lines_in_a_text():
    pictures = cells(2)
    ds = pack(pictures, [one > 300 for one in pictures], names=["CD3+", "a #b", "it's"])
    made = dpipe.derive_masks(ds, masks={"x": "'CD3+' &\n  ~'a #b'\n | \"it's\"\n"})
    for old, new in zip(unpacked(ds, "mask_code"), unpacked(made, "mask_code"), strict=True):
        first, second, third = ((old >> k & 1) > 0 for k in range(3))
        np.testing.assert_array_equal((new >> 3 & 1) > 0, (first & ~second) | third)


def test_the_code_grows_with_the_masks():
    ds = collection()
    for count, dtype in ((4, "u1"), (5, "u2"), (12, "u2"), (13, "u4"), (28, "u4")):
        made = dpipe.derive_masks(ds, masks={f"m{i}": "CD3" for i in range(count)})
        assert made.mask_code.dtype == dtype
        (code, *_) = unpacked(made, "mask_code")
        full = sum(1 << k for k in range(4, 4 + count))
        assert {int(v) & full for v in np.unique(code)} == {0, full}
    with pytest.raises(UsageError, match="33 masks; at most 32"):
        dpipe.derive_masks(ds, masks={f"m{i}": "CD3" for i in range(29)})


def test_statistics_inside_of_a_derived_mask():
    ds = collection(lazy=False)
    made = dpipe.derive_masks(ds, masks={"syn": "dilate(CD3 & MHCII, 1)"})
    both = made.merge(ds, compat="override")
    by_name = dpipe.channel_sums(both, inside="syn")
    assert by_name.identical(dpipe.channel_sums(ds, inside="dilate(CD3 & MHCII, 1)"))


BAD = [
    ("CD4", "unknown mask 'CD4'; did you mean 'CD3'"),
    ("P-CD3zeta", "found P - CD3zeta; expected names.*stands in quotes"),
    ("CD3 and MHCII", "found CD3 and MHCII; expected names of masks, &"),
    ("CD3 &", "cannot be read"),
    ("CD3 & & BF", r"cannot be read \(invalid syntax at '& BF'\)"),
    ("CD3+ & BF", r"cannot be read \(invalid syntax at '& BF'\).*stands in quotes"),
    ("CD3 # the T cell\n & BF", "cannot be read .# begins a comment at '# the T cell"),
    ("-" * 900 + "CD3", "more than 100 terms in one another"),
    ("(CD3", "cannot be read"),
    ("CD3\x00", "cannot be read"),
    ("CD3; BF", "cannot be read"),
    ("CD3 = BF", "cannot be read"),
    ("__import__('os')", r"found __import__\('os'\)"),
    ("().__class__", "found"),
    ("dilate.x(CD3, 1)", "found dilate.x"),
    ("dilate(CD3)", r"found dilate\(CD3\)"),
    ("dilate(CD3, n=3)", "found"),
    ("dilate(CD3, -1)", "found"),
    ("dilate(CD3, 2.5)", "dilate by 2.5; expected 0 to 100 pixels"),
    ("dilate(CD3, True)", "dilate by True"),
    ("dilate(CD3, 101)", "dilate by 101"),
    ("dilate(CD3, '3')", "dilate by '3'"),
    ("erode(CD3, 1)", "found erode"),
    ("not CD3", "found not CD3"),
    ("-CD3", "found -CD3"),
    ("CD3 ^ BF", r"found CD3 \^ BF"),
    ("3", "found 3"),
    ("f'{CD3}'", "found f"),
    ("[CD3 for CD3 in BF]", "found"),
    ("lambda: CD3", "found"),
    ("(x := CD3)", "found"),
    ("~" * 140 + "CD3", "more than 100 terms in one another"),
    ("(" * 300 + "CD3" + ")" * 300, "cannot be read"),
    ("CD3 | " * 300 + "CD3", "expected a text such as"),
    ("", "found ''; expected a text"),
    (3, "found '3'; expected a text"),
    (None, "found 'None'"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[str(text)[:20] for text, _ in BAD])
def test_what_is_no_term_is_refused_in_one_line(text, message):
    with pytest.raises(UsageError, match=message) as told:
        dpipe.derive_masks(collection(), masks={"new": text})
    assert "\n" not in str(told.value)


@given(st.text(max_size=40))
def test_any_text_is_a_term_or_refused(text):
    told = ""
    try:
        parse(text, NAMES)
    except UsageError as error:
        told = str(error)
    assert "\n" not in told


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({}, "masks: found {}; expected new names"),
        ("CD3", "masks: found 'CD3'"),
        ({"CD3": "BF"}, "masks: 'CD3'; expected a new name. There are BF, CD3, MHCII, P-CD3zeta"),
        ({" ": "BF"}, "masks: ' '"),
        ({1: "BF"}, "masks: 1;"),
        ({"a": "b", "b": "BF"}, "unknown mask 'b'"),  # it comes later
    ],
)
def test_names_of_new_masks(masks, message):
    with pytest.raises(UsageError, match=message):
        dpipe.derive_masks(collection(), masks=masks)


def test_without_masks():
    with pytest.raises(SchemaError, match="no variable 'mask_code'"):
        dpipe.derive_masks(pack(cells(1)), masks={"a": "Ch1"})
    only = collection().drop_vars(["pixels", "picture_flag", "mask_value"])
    assert dpipe.derive_masks(only, masks={"a": "CD3"}).sizes["mask"] == 5
