"""The shelf of readers."""

import pytest

from dpipe import readers
from dpipe.errors import UsageError


def test_every_reader_is_whole():
    for name, reader in readers.READERS.items():
        assert readers.resolve(name) is reader
        assert list(reader.find([])) == []
        assert callable(reader.open)
        assert reader.version >= 1


def test_unknown_reader():
    with pytest.raises(UsageError, match="unknown reader 'tif'; did you mean 'tiff'"):
        readers.resolve("tif")
