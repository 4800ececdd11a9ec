"""Documents: whole, of a format that is known, or refused by name."""

import json

import pytest

from dpipe.errors import DamageError, UsageError
from dpipe.storage.documents import Form, sha256

FORM = Form("dpipe-example", 3, "example", unsigned=1)
SIGNED = Form("dpipe-example", 1, "example")


def test_what_is_written_is_read() -> None:
    data = FORM.write({"a": [1, "ä"], "b": None})
    assert FORM.read(data, "here") == {"a": [1, "ä"], "b": None}
    assert json.loads(data)["format"] == "dpipe-example/3"
    body, digest = data[: data.index(b',\n "sha256"')], json.loads(data)["sha256"]
    assert sha256(body) == digest
    assert FORM.read(FORM.write({}), "here") == {}


def test_every_byte_is_guarded_and_none_may_follow() -> None:
    data = FORM.write({"a": 1})
    for i in range(len(data)):
        for bit in range(8):  # "3" becomes "1", and "format" a field that nobody knows
            flipped = data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :]
            with pytest.raises((DamageError, UsageError)):
                FORM.read(flipped, "here")
    for longer in (data + b"\n", b" " + data, data + b" ", data[:-2] + b"}"):
        with pytest.raises(DamageError, match="here: the example is damaged"):
            FORM.read(longer, "here")


@pytest.mark.parametrize("number", [2, 3])
def test_a_number_that_is_signed_needs_its_digest(number: int) -> None:
    bare = json.dumps({"format": f"dpipe-example/{number}", "a": 1}).encode()
    with pytest.raises(DamageError, match="its bytes are not those that were written"):
        FORM.read(bare, "here")


def test_the_first_release_signed_nothing_and_named_no_format() -> None:
    assert FORM.read(b'{"format": "dpipe-example/1", "a": 1}', "here") == {"a": 1}
    assert FORM.read(b'{"a": 1}', "here") == {"a": 1}
    with pytest.raises(DamageError, match="its format is ''"):
        SIGNED.read(b'{"a": 1}', "here")


def test_the_next_number_is_newer_not_damaged() -> None:
    data = Form("dpipe-example", 4, "example").write({"a": 1})
    with pytest.raises(UsageError, match=r"its format is dpipe-example/4, and this dpipe reads"):
        FORM.read(data, "here")


@pytest.mark.parametrize(
    "data",
    [
        Form("dpipe-other", 3, "other").write({}),
        b'{"format": "dpipe-example/0"}',
        b'{"format": "dpipe-example/x"}',
        b'{"format": "dpipe-example"}',
        b'{"format": 3}',
        b"[]",
        b"7",
        b"{",
        b"",
        b"\xff",
        b'{"a": ' + b"[" * 100_000,
    ],
    ids=["other", "0", "x", "no number", "number", "list", "7", "half", "empty", "bytes", "deep"],
)
def test_what_is_no_such_document_is_damaged(data: bytes) -> None:
    with pytest.raises(DamageError, match="here: the example is damaged"):
        FORM.read(data, "here")
