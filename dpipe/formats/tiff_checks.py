"""What is looked at before a library believes a TIFF: its chain of pages, and what it promises.

Libraries follow a chain that comes back to itself for ever, and make a list of whatever number of
planes a header says.
"""

import math
import re
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

_SUB_DIRECTORIES = 330
_KINDS = {4: "I", 13: "I", 16: "Q", 18: "Q"}
_MOST_TAGS = 4096
CODECS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits"}
CODECS |= {34925: "LZMA", 50000: "Zstandard", 34926: "Zstandard"}
_LARGEST_RATIO = 40_000
"""No codec of the list packs tighter; a page that promises more is a decompression bomb."""
_UNSUSPICIOUS = 64 << 20
MOST_PLANES = 4_000_000
"""No header is believed that promises more planes in a file."""


class Flaw(Exception):
    """What is wrong with an open file; whoever opened it makes one line of it."""


def check_promise(xml: str) -> None:
    """Refuse OME-XML that promises planes without end.

    Raises
    ------
    Flaw
        More than `MOST_PLANES`, or none.
    """
    for pixels in re.finditer(r"<(?:\w+:)?Pixels\b[^>]*>", xml):
        sizes = [int(n[:12]) for n in re.findall(r"""\bSize[TCZ]\s*=\s*["'](\d+)""", pixels[0])]
        if not 0 < math.prod(sizes) <= MOST_PLANES:
            raise Flaw(f"its OME header promises {math.prod(sizes)} planes")


def check_chain(file: BinaryIO) -> None:
    """Refuse a file whose pages lead back to one of them, or whose pages' own pages do.

    Parameters
    ----------
    file : binary file
        Anything; what is no TIFF is left to others. It is read from its start, and left anywhere.

    Raises
    ------
    Flaw
        A directory is reached twice.
    """
    walker = _Walker(file)
    for page, (offset, below) in enumerate(walker.chain(walker.first())):
        walker.pages[offset] = page
        walker.nested(page, below)


class _Walker:
    """Reads directories; knows those of the pages, and those below them."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.pages, self.below = file, dict[int, int](), set[int]()
        self.size = file.seek(0, 2)
        file.seek(0)
        head = file.read(8)
        self.order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = struct.unpack(self.order + "H", head[2:4])[0] if self.order and head[3:] else 0
        self.big = version == 43
        self.known = len(head) == 8 and version in (42, 43)

    def first(self) -> int:
        """Return the place of the first directory, 0 if there is none."""
        if not self.known:
            return 0
        self.file.seek(8 if self.big else 4)
        return self._offset(self.file.read(8 if self.big else 4))

    def chain(self, offset: int) -> Iterator[tuple[int, list[int]]]:
        """Yield the directories from one on, each with what lies below it."""
        seen: dict[int, int] = {}
        while 0 < offset < self.size:
            if offset in seen:
                raise Flaw(
                    f"damaged: behind page {len(seen) - 1} comes page {seen[offset]} again; "
                    "fetch or export it again"
                )
            seen[offset] = len(seen)
            tags, behind = self._directory(offset)
            yield offset, self._below(tags)
            offset = behind

    def nested(self, page: int, below: list[int]) -> None:
        """Walk what lies below a page; what was walked already is left alone."""
        todo = list(below)
        while todo:
            for offset, further in self.chain(todo.pop()):
                if offset in self.pages:
                    raise Flaw(
                        f"damaged: below page {page} lies page {self.pages[offset]} itself; "
                        "fetch or export it again"
                    )
                if offset in self.below:
                    break
                self.below.add(offset)
                todo += further

    def _directory(self, offset: int) -> tuple[bytes, int]:
        """Return the tags of a directory, and where the next one lies."""
        head, size, tail = (8, 20, 8) if self.big else (2, 12, 4)
        self.file.seek(offset)
        raw = self.file.read(head)
        if len(raw) < head:
            return b"", 0
        count = struct.unpack(self.order + ("Q" if self.big else "H"), raw)[0]
        if count > _MOST_TAGS:
            return b"", 0
        tags = self.file.read(count * size + tail)
        return tags[: count * size], self._offset(tags[count * size :])

    def _offset(self, raw: bytes) -> int:
        """Return an offset, 0 where there is none any more: others say what is cut off."""
        width = 8 if self.big else 4
        form = self.order + ("Q" if self.big else "I")
        return int(struct.unpack(form, raw[:width])[0]) if len(raw) >= width else 0

    def _below(self, tags: bytes) -> list[int]:
        size, form = (20, "HHQ8s") if self.big else (12, "HHI4s")
        if struct.pack(self.order + "H", _SUB_DIRECTORIES) not in tags:
            return []
        for position in range(0, len(tags) - size + 1, size):
            code, kind, count, value = struct.unpack_from(self.order + form, tags, position)
            if code == _SUB_DIRECTORIES and kind in _KINDS and 0 < count <= _MOST_TAGS:
                width = struct.calcsize(self.order + _KINDS[kind])
                if count * width > len(value):
                    self.file.seek(min(self.size, self._offset(value)))
                    value = self.file.read(count * width)
                count = min(count, len(value) // width)
                offsets = struct.unpack_from(f"{self.order}{count}{_KINDS[kind]}", value)
                return [int(offset) for offset in offsets if offset]
        return []


def check_page(page: Any, size: int) -> None:
    """Refuse a page whose bytes are not all there, or that could not hold what it promises."""
    keyframe = page.keyframe
    if keyframe.compression not in CODECS:
        codecs = ", ".join(dict.fromkeys(CODECS.values()))
        raise Flaw(f"compression {keyframe.compression!r} is not read; known: {codecs}")
    counts = page.databytecounts
    if not page.dataoffsets or len(counts) != len(page.dataoffsets) or not all(counts):
        raise Flaw(f"page {page.index} has no pixels; fetch or export it again")
    end = max(map(sum, zip(page.dataoffsets, counts, strict=True)))
    if end > size:
        raise Flaw(f"truncated: {end} bytes expected, {size} found")
    promised = max(keyframe.nbytes, math.prod(keyframe.chunks) * keyframe.dtype.itemsize)
    if promised > max(_UNSUSPICIOUS, _LARGEST_RATIO * sum(counts)):
        raise Flaw(f"a page promises {promised} bytes in {sum(counts)} stored; this cannot be")


def is_whole(page: Any, size: int) -> bool:
    """Tell whether all bytes of a page are there."""
    try:
        if page is not None:
            check_page(page, size)
    except Flaw:
        return False
    return page is not None
