"""A tree of pictures as imaging flow cytometry leaves it, with the damage that real ones have.

Knows the true layout: folders of samples, one HDF5 file a picture of its own size, masks of every
channel (some empty), labels in a third.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dpipe.demo.truth import FolderTruth
from dpipe.formats.ifc_writer import write_picture

SAMPLES = ("Experiment_1/Donor_1/+SEA ", "Experiment_1/Donor_1/-SEA")
CLASSES = ("B_cell", "T_cell", "Synapses_with_signaling", "Multiplets")
_STAINED = {CLASSES[0]: (4,), CLASSES[1]: (5,), CLASSES[2]: (4, 5, 6), CLASSES[3]: (4, 5)}
"""Channels, counted from 0, that are brighter in a class: MHCII, CD3, phosphorylated CD3."""
_CORRUPT, _BARE = 3, 5
"""Numbers of the files of the first sample that are cut off and that have no mask."""


def write_ifc_tree(
    folder: str | Path,
    pictures: int = 2000,
    *,
    samples: Sequence[str] = SAMPLES,
    channels: int = 8,
    mean_size: int = 36,
    damage: bool = True,
    labels: bool = True,
    seed: int = 7,
) -> Path:
    """Write a tree of pictures.

    Parameters
    ----------
    folder : str or path
        New folder.
    pictures : int
        How many files in all, the same number in each sample as far as that goes. In every
        eleventh the mask of the second channel is empty.
    samples : sequence of str
        Folders below, with the blanks that real ones have.
    channels : int
        Channels of each picture, uint16 of 12 bits.
    mean_size : int
        Mean height and width; a fifth of it is the standard deviation.
    damage : bool
        Whether the first sample's file 3 is corrupt and its file 5 has no mask.
    labels : bool
        Whether every third picture has a label.
    seed : int
        Of the random numbers.

    Returns
    -------
    pathlib.Path
        The folder.
    """
    rng = np.random.default_rng(seed)
    root = Path(folder)
    noise = rng.integers(20, 60, (1 << 20) + 8, dtype=np.uint16)
    for k, sample in enumerate(samples):
        below = root / sample
        below.mkdir(parents=True)
        stem = _stem(sample)
        for i in range(k, pictures, len(samples)):
            number = i // len(samples)
            path = below / f"{stem}_{number}.h5"
            strength = _strength(rng, channels, _kind(number))
            image, mask = _draw(rng, noise, strength, mean_size, empty=_empty(number))
            bare = damage and not k and number == _BARE
            write_picture(path, image, None if bare else mask, _label(number) if labels else None)
            if damage and not k and number == _CORRUPT:
                path.write_bytes(path.read_bytes()[:1500])
    return root


def describe_ifc_tree(pictures: int = 2000) -> dict[str, FolderTruth]:
    """Return the truth about a tree of `write_ifc_tree`, as it is by default.

    Parameters
    ----------
    pictures : int
        How many files in all.

    Returns
    -------
    dict
        JSON values, by name of the part that reader ``ifc`` makes of a folder: how many
        ``pictures``; the files that are ``corrupt``, and those ``without_mask``; how many have
        ``empty_masks``, in the second channel; how many of each of the ``labels``, "-1" for none.
        All that can be read: the corrupt one has no place in the last two.
    """
    folders: dict[str, FolderTruth] = {}
    for k, sample in enumerate(SAMPLES):
        stem = _stem(sample)
        lost, bare = ([], []) if k else ([_CORRUPT], [_BARE])
        count = len(range(k, pictures, len(SAMPLES)))
        readable = [n for n in range(count) if n not in lost]
        folders[stem] = {
            "pictures": count,
            "corrupt": [f"{stem}_{n}.h5" for n in lost if n < count],
            "without_mask": [f"{stem}_{n}.h5" for n in bare if n < count],
            "empty_masks": sum(_empty(n) for n in readable if n not in bare),
            "labels": dict(sorted(Counter(_label(n) or "-1" for n in readable).items())),
        }
    return folders


def _stem(sample: str) -> str:
    return "_".join(name.strip() for name in sample.split("/"))


def _kind(number: int) -> str:
    return CLASSES[number // 3 % len(CLASSES)]


def _label(number: int) -> str | None:
    return None if number % 3 else _kind(number)


def _empty(number: int) -> bool:
    return number % 11 == 0


def _strength(rng: np.random.Generator, channels: int, kind: str) -> np.ndarray:
    """Return the brightness of each channel: the later the brighter, more where it is stained."""
    strength = (np.arange(1, channels + 1) * 400).astype(np.float32)
    for c in (4, 5, 6):
        if c < channels:
            stain = 1.3 if c in _STAINED[kind] else 0.8
            strength[c] *= stain * np.clip(rng.normal(1, 0.15), 0.5, 1.5)
    return strength


def _draw(
    rng: np.random.Generator, noise: np.ndarray, strength: np.ndarray, mean: int, *, empty: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a round cell as bright as said in each channel, and masks of their own size."""
    channels = len(strength)
    low, high = max(8, mean // 2), mean * 5 // 3
    height, width = np.clip(rng.normal(mean, mean / 5, 2), low, high).astype(int)
    y, x = np.ogrid[:height, :width]
    radius = min(height, width) * rng.uniform(0.25, 0.4)
    distance = np.hypot(y - height / 2, x - width / 2)
    cell = np.maximum(0, 1 - (distance / radius) ** 2)
    start = int(rng.integers(0, 1 << 19))
    size = height * width * channels
    while size > len(noise) - start:
        noise, start = np.tile(noise, 2), 0
    image = noise[start : start + size].reshape(height, width, channels).copy()
    image += (cell[..., np.newaxis] * strength).astype(np.uint16)
    reach = radius * rng.uniform(0.75, 1, channels)
    mask = (distance[..., np.newaxis] < reach).astype(np.uint8)
    if empty:
        mask[..., 1] = 0
    return np.minimum(image, 4095), mask
