"""Which files are pictures, and which are label images of them, by their names."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dpipe.readers.pictures import label_images


@dataclass(frozen=True)
class Pairs:
    """Pictures with their label images.

    Attributes
    ----------
    pictures : list of str
        URIs, in the order given.
    labels : dict of str to str
        URI of the label image of a picture, where it has one.
    alone : list of str
        Label images without a picture.
    """

    pictures: list[str]
    labels: dict[str, str]
    alone: list[str]


def paired(uris: Iterable[str]) -> Pairs:
    """Tell pictures from their label images.

    A label image has the name of its picture and one of the endings of `label_images.SUFFIXES`
    behind it, in any folder, or lies in a folder of `label_images.FOLDERS` beside that of the
    pictures, or in it.

    Examples
    --------
    >>> found = paired(["a/x.C01", "a/x_objects.png", "images/1.png", "masks/1.png"])
    >>> found.pictures, found.labels
    (['a/x.C01', 'images/1.png'], {'a/x.C01': 'a/x_objects.png', 'images/1.png': 'masks/1.png'})
    """
    listed = list(uris)
    by_place = {_place(uri): uri for uri in listed}
    by_name: dict[tuple[str, str], list[str]] = {}
    by_stem: dict[str, list[str]] = {}
    for uri in listed:
        folder, stem = _place(uri)
        by_name.setdefault((folder.rpartition("/")[0], stem), []).append(uri)
        by_stem.setdefault(stem, []).append(uri)
    labels: dict[str, str] = {}
    alone: list[str] = []
    masks = set()
    for uri in listed:
        folder, stem = _place(uri)
        inside = folder.rpartition("/")[2].lower() in label_images.FOLDERS
        short = _without_suffix(stem)
        if not inside and short == stem:
            continue
        candidates = [by_place.get((folder, short), "")] if short != stem else []
        if inside:
            beside = folder.rpartition("/")[0]
            candidates += [by_place.get((beside, name), "") for name in (short, stem)]
            candidates += by_name.get((beside, short), []) + by_name.get((beside, stem), [])
        fitting = [one for one in candidates if one and one != uri and not _is_mask_folder(one)]
        if not fitting and short != stem:  # in another folder, if only one picture has that name
            fitting = by_stem.get(short, [])
            fitting = fitting if len({_place(one) for one in fitting}) == 1 else fitting[:0]
        if fitting:
            labels.setdefault(fitting[0], uri)
            masks.add(uri)
        else:
            alone.append(uri)
    pictures = [uri for uri in listed if uri not in masks and uri not in set(alone)]
    return Pairs(pictures, labels, alone)


def _place(uri: str) -> tuple[str, str]:
    folder, _, name = uri.rpartition("/")
    return folder, name.rpartition(".")[0] or name


def _is_mask_folder(uri: str) -> bool:
    folder = _place(uri)[0]
    return folder.rpartition("/")[2].lower() in label_images.FOLDERS


def _without_suffix(stem: str, suffixes: Sequence[str] = label_images.SUFFIXES) -> str:
    """Return the name of the picture of a label image; the name itself if it has no such ending."""
    fitting = [one for one in suffixes if stem.lower().endswith(one) and len(stem) > len(one)]
    return stem[: -len(max(fitting, key=len))] if fitting else stem
