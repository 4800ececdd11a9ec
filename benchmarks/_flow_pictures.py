"""Draw pictures as an imaging flow cytometer takes them: cells of its channels, and their masks."""

from typing import NamedTuple

import numpy as np
import scipy.ndimage

Picture = tuple[np.ndarray, np.ndarray]


class Packed(NamedTuple):
    """Pictures one after another, as kernels take them."""

    pixels: np.ndarray
    codes: np.ndarray
    offset: np.ndarray
    height: np.ndarray
    width: np.ndarray


def draw(number: int, channels: int = 8, side: int = 105, seed: int = 0) -> list[Picture]:
    """Draw pictures (H, W, C) of 12 bits and their masks, each of its own size around `side`.

    A mask is a rough ellipse that covers a fifth of the picture, more or less; one in eight is
    empty, as where a cell carries no label.
    """
    random = np.random.default_rng(seed)
    return [_picture(random, channels, side) for _ in range(number)]


def _picture(random: np.random.Generator, channels: int, side: int) -> Picture:
    height, width = random.normal(side, side / 5, 2).clip(0.55 * side, 1.65 * side).astype(int)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = random.normal(30, 4, (height, width, channels))
    mask = np.zeros((height, width, channels), np.uint8)
    for c in range(channels):
        rough = scipy.ndimage.gaussian_filter(random.standard_normal((height, width)), 4)
        at, axes = random.uniform(-0.15, 0.15, 2), random.uniform(0.4, 0.62, 2)
        inside = ((y - at[0]) / axes[0]) ** 2 + ((x - at[1]) / axes[1]) ** 2 + 3 * rough < 1
        if random.random() < 1 / 8:
            continue
        mask[..., c] = inside
        texture = scipy.ndimage.gaussian_filter(random.standard_normal((height, width)), 1.5)
        bright = random.uniform(60, 1500) * np.clip(1 + 2 * texture, 0.05, None)
        image[..., c] += scipy.ndimage.gaussian_filter(inside * bright, 1)
    noisy = random.poisson(image.clip(0, None))
    return noisy.clip(0, 4095).astype(np.uint16), mask


def pack(pictures: list[Picture]) -> Packed:
    """Lay pictures one after another, plane by plane, and their masks as codes."""
    channels = pictures[0][0].shape[2]
    kind = np.min_scalar_type(2**channels - 1)
    bits = (1 << np.arange(channels)).astype(kind)
    height, width = (np.array([image.shape[k] for image, _ in pictures]) for k in (0, 1))
    return Packed(
        np.concatenate([np.moveaxis(image, 2, 0).ravel() for image, _ in pictures]),
        np.concatenate([(mask.astype(kind) @ bits).ravel().astype(kind) for _, mask in pictures]),
        np.cumsum(height * width) - height * width,
        height,
        width,
    )
