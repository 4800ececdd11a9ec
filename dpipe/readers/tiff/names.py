"""What names of TIFF files say: which of them are one movie, and what their numbers count.

Programs put time point, plane and channel into names: ``t001_z02_ch00``, ``s_C001Z001T012``,
``img_000000012_GFP_003`` (Micro-Manager 1.4). Opens nothing.
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dpipe.errors import InputError
from dpipe.readers.tiff.planes import Files, listed, short
from dpipe.sources import natural_key

SUFFIXES = (".ome.tiff", ".ome.tif", ".tiff", ".tif", ".btf")

_WORDS = {
    "t": "t", "tp": "t", "tl": "t", "time": "t", "timepoint": "t", "frame": "t",
    "z": "z", "slice": "z", "plane": "z",
    "c": "c", "ch": "c", "channel": "c", "w": "c",
}  # fmt: skip
_ALONE = frozenset(_WORDS) - {"c", "w"}
"""Words that count even if nothing else in the name does."""
_NEUTRAL = frozenset("s xy p pos position series site field m b g angle".split())
"""Words whose numbers count other things; they may stand between."""
_TOKEN = re.compile(r"(?:([A-Za-z]+)([=_-]?))?(\d+)|([A-Za-z]+)|(.)")
_OF_MICROMANAGER = re.compile(r"(img_)(\d{9})(_)(.*)(_)(\d{3})")
_MOST_LOST = 10_000
_NUMBER = re.compile(r"(\d+)(\D*)$")


class Tagged(NamedTuple):
    """A name by what it counts: the pieces around the numbers, dim and text of each, the rest."""

    pieces: tuple[str, ...]
    dims: str
    texts: tuple[str, ...]
    rest: str


class _Token(NamedTuple):
    word: str
    sign: str
    digits: str
    letters: str
    other: str

    @property
    def dim(self) -> str:
        return _WORDS.get(self.word.lower(), "") if self.digits else ""


_NOTHING = _Token("", "", "", "", "")


def tagged(stem: str) -> Tagged | None:
    """Read the numbers of a name; None where nothing says what they count.

    Examples
    --------
    >>> tagged("Neu1_t012_ch1")
    Tagged(pieces=('Neu1_t', '_ch', ''), dims='tc', texts=('012', '1'), rest='Neu1')
    >>> tagged("img001")
    """
    if match := _OF_MICROMANAGER.fullmatch(stem):
        img, t, a, c, b, z = match.groups()
        return Tagged((img, a, b, ""), "tcz", (t, c, z), "")
    tokens = _unglued([_Token(*match.groups(default="")) for match in _TOKEN.finditer(stem)])
    run: list[int] = []  # where the tokens stand that count, one near the other
    for i, token in enumerate(tokens):
        before = tokens[i - 1] if i else None
        apart = before in (None, _NOTHING) or i - 1 in run or _separates(before)
        if token.dim and apart:
            run.append(i)
        elif token != _NOTHING and not _separates(token):
            run = []
    last = {tokens[i].dim: i for i in run}
    run = sorted(last.values())
    if run and _is_well(tokens, run[0]):
        run = run[1:]
    if not run or (len(run) == 1 and not _stands_alone(tokens, run[0])):
        return None
    return _cut(tokens, run)


def _unglued(tokens: list[_Token]) -> list[_Token]:
    """Cut the name of a movie from a first count, as in ``Neut01z1c1``; join the name of a dye."""
    separated: list[_Token] = []
    for i, token in enumerate(tokens):
        behind = tokens[i + 1] if i + 1 < len(tokens) else None
        glued = token.digits and not token.sign and len(token.word) > 1 and not token.dim
        if separated and separated[-1].word.lower() == "w" and not token.dim and not token.other:
            separated[-1] = separated[-1]._replace(digits=separated[-1].digits + "".join(token))
            continue  # the name of a wavelength: w1GFP, w2Cy5
        follows = behind is not None and (behind.dim or (behind.word and _separates(behind)))
        if glued and follows and token.word[-1] in "tT":
            separated += [_Token("", "", "", token.word[:-1], ""), _NOTHING]
            separated.append(_Token(token.word[-1], "", token.digits, "", ""))
        else:
            separated.append(token)
    return separated


def _stands_alone(tokens: Sequence[_Token], index: int) -> bool:
    """Tell whether a count is enough: by its word, and nothing of weight behind it."""
    behind = all(_separates(token) for token in tokens[index + 1 :])
    return behind and tokens[index].word.lower() in _ALONE


def _separates(token: _Token | None) -> bool:
    """Tell whether a token may stand between two that count."""
    if token is None or not token.digits:
        return token is not None and token.other in tuple(" _.-")
    return token.word.lower() in _NEUTRAL


def _is_well(tokens: Sequence[_Token], index: int) -> bool:
    """Tell whether a C that comes first is row C of a plate: ``C02_t001``."""
    token = tokens[index]
    apart = index + 1 < len(tokens) and bool(tokens[index + 1].other)
    return token.word == "C" and len(token.digits) == 2 and apart


def _cut(tokens: Sequence[_Token], run: Sequence[int]) -> Tagged:
    pieces, texts, remainder = [""], list[str](), ""
    for i, token in enumerate(tokens):
        if i in run:
            pieces[-1] += token.word + token.sign
            texts.append(token.digits)
            pieces.append("")
        else:
            pieces[-1] += "".join(token)
            remainder += "".join(token)
    inside = len(run) > 1 or run[0] < len(tokens) - 1
    remainder = (re.sub(r"[ _.-]{2,}", "_", remainder) if inside else remainder).strip(" _.-")
    return Tagged(tuple(pieces), "".join(tokens[i].dim for i in run), tuple(texts), remainder)


class Named(NamedTuple):
    """Files by their names, what these count (the last one fastest), and gaps.

    `frames` are the numbers of the time points, counted from the first one; `lost` are the names
    that a whole movie would have besides; `labels` are the texts that stand for channels.
    """

    files: Files
    dims: str
    frames: list[int] | None = None
    lost: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def named(
    uris: Sequence[str],
    dim: str | None = None,
    *,
    torn: bool = False,
    channels: Sequence[str] = (),
) -> Named:
    """Find the numbers in which names differ, and refuse gaps.

    Parameters
    ----------
    uris : sequence of str
        Files of one movie, in any order.
    dim : {"t", "c", "z"}, optional
        What the last number counts, whatever the names say.
    torn : bool
        Leave out the time points of which a file is missing.
    channels : sequence of str
        The order of the channels, where something else than the alphabet says it.

    Returns
    -------
    Named
        The files in the order of their numbers.

    Raises
    ------
    InputError
        Names that do not make a whole grid.
    """
    split = [_split(uri) for uri in uris]
    tags = [tagged(stem) for _, stem, _ in split] if dim is None else []
    counting = [tag for tag in tags if tag is not None]
    kinds = {
        (tag.pieces, tag.dims, folder, end)
        for tag, (folder, _, end) in zip(tags, split, strict=False)
        if tag is not None
    }
    if len(counting) < len(uris) or len(kinds) > 1 or counting[0].dims == "t":
        return _numbered(uris, dim or "t", torn)
    ((pieces, dims, folder, end),) = kinds
    texts = [sorted({tag.texts[k] for tag in counting}, key=natural_key) for k in range(len(dims))]
    if "c" in dims and set(channels) == set(texts[dims.index("c")]):
        texts[dims.index("c")] = list(dict.fromkeys(channels))
    pieces = (folder + pieces[0], *pieces[1:-1], pieces[-1] + end)
    for d, values in zip(dims, texts, strict=True):
        _check_gaps(d, values, short(uris[0]), torn and d == "t")
    files = Files(pieces, tuple(map(_compact, texts)))
    if len(files) > 2 * len(uris) + _MOST_LOST:
        raise InputError(f"{short(uris[0])} and its like: {len(uris)} files of {len(files)}")
    labels = tuple(texts[dims.index("c")]) if "c" in dims else ()
    present = set(uris)
    lost = [files[i] for i in range(len(files)) if files[i] not in present]
    if not lost:
        return Named(files, dims, _frames(dims, texts), (), labels)
    spans = ", ".join(
        f"{d} {values[0]} to {values[-1]}" for d, values in zip(dims, texts, strict=True)
    )
    if not torn or "t" not in dims:
        raise InputError(f"{short(lost[0])}: this file is missing of {spans}")
    axis = dims.index("t")
    counts = files.counts
    gone = {np.unravel_index(i, counts)[axis] for i in range(len(files)) if files[i] not in present}
    whole = [text for k, text in enumerate(texts[axis]) if k not in gone]
    if not whole:
        raise InputError(f"{short(lost[0])}: this file is missing, and no time point is whole")
    start, texts[axis] = int(texts[axis][0]), whole
    files = Files(pieces, tuple(map(_compact, texts)))
    frames = [int(text) - start for text in whole]
    return Named(files, dims, frames, tuple(map(short, lost)), labels)


def _frames(dims: str, texts: Sequence[Sequence[str]]) -> list[int] | None:
    if "t" not in dims:
        return None
    numbers = [int(text) for text in texts[dims.index("t")]]
    return [n - numbers[0] for n in numbers]


def _check_gaps(dim: str, texts: Sequence[str], name: str, torn: bool) -> None:
    """Refuse gaps along time and depth; channels are names."""
    if dim == "c" or torn:
        return
    numbers = [int(text) for text in texts]
    for a, b in itertools.pairwise(numbers):
        if b != a + 1:
            what = {"t": "time point", "z": "plane"}[dim]
            raise InputError(
                f"{name} and its like: {what} {a + 1} is missing of {numbers[0]} to {numbers[-1]}"
            )


def _compact(texts: Sequence[str]) -> tuple[range, int] | tuple[str, ...]:
    """Write numbers that follow each other as a range."""
    if all(text.isdecimal() for text in texts):
        numbers, width = range(int(texts[0]), int(texts[-1]) + 1), len(texts[0])
        if [f"{n:0{width}d}" for n in numbers] == list(texts):
            return numbers, width
    return tuple(texts)


def _numbered(uris: Sequence[str], dim: str, torn: bool) -> Named:
    """Find the one number in which the names differ, the last one, and refuse gaps."""
    what = {"t": "time point", "z": "plane", "c": "channel"}[dim]
    uri_of: dict[int, str] = {}
    around = set()
    for uri in uris:
        folder, stem, suffix = _split(uri)
        match = _NUMBER.search(stem)
        if match is None:
            raise InputError(f"{short(uri)}: no number in its name; a series needs {what}s")
        if int(match[1]) in uri_of:
            other = short(uri_of[int(match[1])])
            raise InputError(f"{short(uri)}: {other} is {what} {int(match[1])} too")
        uri_of[int(match[1])] = uri
        around.add((folder + stem[: match.start()], match[2] + suffix))
    if len(around) > 1:
        a, b = sorted("".join(pair).rpartition("/")[2] for pair in around)[:2]
        raise InputError(f"{a}, {b}: the files of a series must differ in their last number only")
    prefix, suffix = around.pop()
    low, high = min(uri_of), max(uri_of)
    width = len(uri_of[low]) - len(prefix) - len(suffix)
    files = Files((prefix, suffix), ((range(low, high + 1), width),))
    if torn and high - low > len(uri_of) + _MOST_LOST:
        raise InputError(f"{short(files[0])}: {len(uri_of)} of {low} to {high} are there")
    lost = []
    for i, number in enumerate(range(low, high + 1)):
        if uri_of.get(number) != files[i]:
            other = f"; found {short(uri_of[number])}" if number in uri_of else ""
            if not torn or other or dim != "t":
                raise InputError(
                    f"{short(files[i])}: this {what} is missing of {low} to {high}{other}"
                )
            lost.append(short(files[i]))
    labels = tuple(map(str, sorted(uri_of))) if dim == "c" else ()
    if not lost:
        return Named(files, dim, None, (), labels)
    frames = sorted(uri_of)
    return Named(listed([uri_of[n] for n in frames]), dim, [n - low for n in frames], tuple(lost))


def folders_above(folder: str, uri: str) -> list[str]:
    """Return the names of the folders of a file, its own last; `folder` may be ""."""
    return (folder or uri.rpartition("/")[0]).rstrip("/").split("/")


def as_stem(text: str) -> str:
    """Return a text as the name of a part."""
    return re.sub(r"[^\w.-]", "-", text) or "movie"


def _split(uri: str) -> tuple[str, str, str]:
    """Return the folder with its slash, the name without its suffix, and that."""
    suffix = next((uri[-len(s) :] for s in SUFFIXES if uri.lower().endswith(s)), "")
    folder, slash, name = uri[: len(uri) - len(suffix)].rpartition("/")
    return folder + slash, name, suffix
