"""A small study to try everything on: movies, pictures of cells, and the truth about them.

Knows how to draw cells with known places under known noise, and writes them beside a recipe. Knows
nothing of readers or stores: what it writes is read like anybody's files. Who dies where, and what
people say of it, is decided in ``movies.py`` and written by ``annotations.py``. `write_imaris`
also makes large movies for benchmarks, one frame at a time.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dpipe.demo.annotations import write_marks, write_scene, write_tables
from dpipe.demo.movies import plant
from dpipe.demo.nuclei import write_outlined, write_plate
from dpipe.demo.pictures import describe_ifc_tree, write_ifc_tree
from dpipe.demo.truth import CellTruth, ChannelTruth, MovieTruth, StudyTruth
from dpipe.formats.imaris_writer import write_imaris

__all__ = [
    "describe_ifc_tree",
    "describe_movie",
    "draw_frame",
    "ensure_study",
    "farewell",
    "write_ifc_tree",
    "write_imaris",
    "write_study",
]

SPACING = (2.0, 0.5, 0.5)
ORIGIN = (30.0, 1200.0, -850.0)
INTERVAL = 30.0
CHANNELS = ("neutrophils", "dying cells", "collagen")
COLORS = ("00FF00", "FF0000", "3366FF")
_CELLS = (6, 3, 4)
_BRIGHTNESS = {"uint8": (20.0, 120.0, 4.0), "uint16": (400.0, 3000.0, 60.0)}
"""Background, brightness of a cell above it, and sigma of the noise, by dtype."""

_RECIPE = """\
# Written by `dpipe demo`: run it with `dpipe run recipe.yaml --store store`
name: leuko-demo
study:
  title: Synthetic intravital movies in the layout of Imaris
  description: >-
    Ellipsoid cells that move through a small volume, under known noise; the places of all cells
    and the noise of all channels are in truth.json. Biological application: a stand-in for
    two-photon movies of leukocytes that die, made to test quality control.
  license: CC-BY-4.0
  authors: []
  keywords: [synthetic, intravital microscopy, leukocytes, quality control]
  funding_statement: none
  link_url: []
datasets:
  leuko: {reader: imaris, source: raw/*.h5}
  leuko-quality: {operator: frame-quality, input: leuko}
  leuko-quality-table: {operator: quality-table, input: leuko-quality}
  leuko-projections: {operator: projections, input: leuko}
  leuko-thumbnails: {operator: thumbnails, input: leuko}
"""
_PICTURES = """\
  # pictures of single cells from flow cytometry, one of whose files is corrupt
  cells: {reader: ifc, source: cells}
  cells-features: {operator: cell-features, input: cells}
"""
_NUCLEI = """\
  # a plate of nuclei with masks of a colour an object, and pictures that people outlined
  nuclei: {reader: cellomics, source: plate}
  nuclei-8bit: {operator: normalise, input: nuclei}
  nuclei-measures: {operator: object-measures, input: nuclei}
  outlined: {reader: livecell, source: outlined}
  outlined-masks: {operator: polygon-masks, input: outlined}
  outlined-measures: {operator: object-measures, input: {ds: outlined, labels: outlined-masks}}
"""
_ANNOTATED = """\
  leuko-density:
    operator: cell-density
    input: leuko
    params: {opened_area: [40, 1500], watershed_area: [25, 1500]}  # cells of this study are large
  # what the scenes of the movies hold
  leuko-spots: {reader: imaris-spots, source: raw/*.h5}
  leuko-track-measures: {operator: track-measures, input: leuko-spots}
  leuko-cells: {reader: imaris-surfaces, source: raw/*.h5}
  leuko-cell-measures: {operator: surface-measures, input: leuko-cells}
  leuko-masks: {operator: mesh-masks, input: {ds: leuko, surfaces: leuko-cells}}
  # what three annotators marked, and what they agree on
  leuko-tracks: {reader: tracks, source: annotations/*/*.csv, options: {interval: 30}}
  leuko-track-checks: {operator: track-checks, input: {ds: leuko, tracks: leuko-tracks}}
  leuko-consensus: {operator: consensus-tracks, input: leuko-tracks}
  leuko-phases: {reader: phases, source: phases.csv}
  leuko-phase-marks: {reader: phases, source: phase-marks.csv}
  leuko-phase-consensus: {operator: consensus-phases, input: leuko-phase-marks}
  leuko-events: {operator: phase-tracks, input: {phases: leuko-phases, tracks: leuko-consensus}}
  leuko-conditions: {reader: conditions, source: conditions.csv}
  leuko-crops:  # windows that follow each dying cell, and as many of what does not die
    operator: track-crops
    input: {ds: leuko, tracks: leuko-consensus, phases: leuko-events}
    params: {margin: 1, negatives: 1, negatives_per: event, negative_distance: 20}
  leuko-splits:
    operator: split-movies
    input: leuko
    params: {fractions: [0.5, 0.25, 0.25], exact: true}
  leuko-groups:
    operator: group-tests
    input: {tree: leuko-track-measures, conditions: leuko-conditions}
    params: {values: [track_length, track_speed_mean], by: organ}
"""


def write_study(
    folder: str | os.PathLike[str],
    *,
    movies: int = 2,
    seed: int = 0,
    frames: int = 12,
    size: Sequence[int] = (8, 192, 256),
    damaged: bool = False,
    annotated: bool = False,
    cells: int = 0,
    nuclei: bool = False,
) -> Path:
    """Write a small study: movies, maybe pictures of cells, the truth about them, and a recipe.

    ``raw/Neu1.h5`` (uint8), ``raw/Neu2.h5`` (uint16) and so on by turns, ``truth.json``,
    ``recipe.yaml``. Annotated, cells die in the movies: their scenes hold spots, tracks and
    surfaces of them, ``annotations/`` and ``phase-marks.csv`` what three annotators marked, who
    disagree; ``phases.csv`` and ``conditions.csv`` are the tables of the Leuko-Death study.
    Pictures of cells lie in ``cells/``, as `write_ifc_tree` leaves them. What is there under these
    names is replaced.

    Parameters
    ----------
    folder : str or path
        Where; made if it is not there.
    movies : int
        How many.
    seed : int
        The same seed gives the same pixels.
    frames : int
        Time points of each.
    size : sequence of 3 int
        Voxels along z, y, x.
    damaged : bool
        Add one more movie, cut off in the middle, as a broken copy leaves it.
    annotated : bool
        Let cells die, and write what people say of them.
    cells : int
        How many pictures of single cells stand beside the movies.
    nuclei : bool
        Whether a plate of nuclei (``plate/``) and outlined pictures (``outlined/``) stand beside.

    Returns
    -------
    pathlib.Path
        The recipe.

    Raises
    ------
    UsageError
        Annotated movies are too small or too short for the deaths that are planned.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recipe = write_study(folder, movies=1, frames=2, size=(2, 32, 32), damaged=True)
    ...     recipe.name, sorted(path.name for path in (recipe.parent / "raw").iterdir())
    ('recipe.yaml', ['Neu1.h5', 'Neu2.h5'])
    """
    root = Path(folder)
    (root / "raw").mkdir(parents=True, exist_ok=True)
    truth: StudyTruth = {"seed": seed, "movies": {}}
    for number in range(1, movies + damaged + 1):
        movie = describe_movie(number, seed=seed, frames=frames, size=size)
        if annotated:
            movie = plant(movie, number)
        path = write_imaris(
            root / "raw" / f"Neu{number}.h5",
            partial(draw_frame, movie),
            shape=(frames, len(CHANNELS), *size),
            dtype=movie["dtype"],
            spacing=SPACING,
            origin=ORIGIN,
            interval=INTERVAL,
            channels=CHANNELS,
            colors=COLORS,
        )
        if annotated:
            movie["surfaces"] = write_scene(path, movie, modern=number % 2 == 1)
        if number <= movies:
            truth["movies"][f"Neu{number}"] = movie
        else:
            os.truncate(path, path.stat().st_size // 2)
    if annotated:
        for stem, movie in truth["movies"].items():
            write_marks(root / "annotations", stem, movie)
        truth["conditions"] = write_tables(root, truth["movies"])
    if cells:
        shutil.rmtree(root / "cells", ignore_errors=True)
        write_ifc_tree(root / "cells", cells)
        truth["cells"] = describe_ifc_tree(cells)
    if nuclei:
        truth["plate"] = write_plate(root / "plate")
        truth["outlined"] = write_outlined(root / "outlined")
    (root / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    recipe = root / "recipe.yaml"
    steps = _RECIPE + (_ANNOTATED if annotated else "") + (_PICTURES if cells else "")
    steps += _NUCLEI if nuclei else ""
    recipe.write_text(steps, encoding="utf-8")
    return recipe


def ensure_study(folder: str | os.PathLike[str]) -> Path:
    """Write the study unless it is there, so that a second run finds the same files.

    Parameters
    ----------
    folder : str or path
        Where.

    Returns
    -------
    pathlib.Path
        The recipe. It is written last: where it is, the rest is too.
    """
    recipe = Path(folder) / "recipe.yaml"
    if recipe.exists():
        return recipe
    return write_study(folder, movies=4, annotated=True, cells=2000, nuclei=True)


def farewell(
    folder: str, problems: Sequence[object], aside: Sequence[Mapping[str, Any]] = ()
) -> list[str]:
    """Return lines on the parts of the demonstration, and on what to try next.

    Parameters
    ----------
    folder : str
        The folder with ``study`` and ``store``.
    problems : sequence
        What a check of the store found; normally nothing.
    aside : sequence of mapping
        What versions name as put aside: its ``stem`` and ``reason``.

    Returns
    -------
    list of str
        Lines for a person.
    """
    verdict = "every object is as its seal says"
    if problems:
        verdict = f"{len(problems)} objects are not as their seals say, first: {problems[0]}"
    return [
        f"movies    {folder}/study/raw, and what is true of them in {folder}/study/truth.json",
        f"marks     {folder}/study/annotations: three annotators; phases.csv, conditions.csv",
        f"pictures  {folder}/study/cells: 2,000 cells of two samples, one file is corrupt",
        f"plate     {folder}/study/plate: nuclei as .C01, with masks of a colour an object",
        f"outlined  {folder}/study/outlined: pictures with outlines, two of which are wrong",
        f"recipe    {folder}/study/recipe.yaml",
        f"store     {folder}/store",
        f"verified  {verdict}",
        *(f"aside     {entry['stem']}: {entry['reason']}" for entry in aside),
        f"next      dpipe ls --store {folder}/store",
        f"          dpipe show leuko-quality --store {folder}/store",
        f"          dpipe show cells --store {folder}/store",
        f"          dpipe export csv --input leuko-events --to {folder}/events "
        f"--store {folder}/store",
        f"          dpipe check-annotations outlined --store {folder}/store",
        f"          dpipe export csv --input nuclei-measures --to {folder}/nuclei "
        f"--store {folder}/store",
        f"          dpipe export tiff --input leuko --to {folder}/tiff --store {folder}/store",
        "          dpipe export classification --input leuko-crops --input leuko-splits "
        f"--to {folder}/crops --store {folder}/store",
        f"          dpipe plot gallery leuko-crops --to {folder}/crops.png --store {folder}/store",
        f"          python: dpipe.open('{folder}/store', 'leuko', 'leuko-masks')",
        "again     the same command: nothing will need doing",
    ]


def describe_movie(
    number: int, *, seed: int = 0, frames: int = 12, size: Sequence[int] = (8, 192, 256)
) -> MovieTruth:
    """Decide everything about a movie but its noise.

    Parameters
    ----------
    number : int
        1, 2, ...; odd ones are uint8, even ones uint16.
    seed, frames, size
        As in `write_study`.

    Returns
    -------
    dict
        JSON values: ``spacing``, ``origin``, ``interval``; for each of ``channels`` its
        ``background`` and ``noise``; for each of ``cells`` its ``channel``, ``radii`` (z, y, x)
        and ``centres`` (one z, y, x a frame), all in micrometres, and where it is not there all
        the time ``frames``, the first and the last.
    """
    dtype = ("uint16", "uint8")[number % 2]
    background, brightness, sigma = _BRIGHTNESS[dtype]
    rng = np.random.default_rng([seed, number])
    extent = np.asarray(size) * SPACING
    corner = np.asarray(ORIGIN) - np.asarray(SPACING) / 2
    cells = list[CellTruth]()
    for channel, count in enumerate(_CELLS):
        for _ in range(count):
            radii = np.minimum(rng.uniform((2.5, 4, 4), (4, 7, 7)), extent / 4)
            steps = rng.normal(0, (0.3, 1.0, 1.0), (frames, 3))
            path = rng.uniform(radii, extent - radii) + np.cumsum(steps, axis=0)
            centres = corner + np.clip(path, radii, extent - radii)
            cells.append(
                {
                    "channel": channel,
                    "radii": radii.round(3).tolist(),
                    "centres": centres.round(3).tolist(),
                }
            )
    channels: list[ChannelTruth] = [
        {
            "name": name,
            "color": color,
            "background": background,
            "brightness": brightness,
            "noise": {"kind": kind, "sigma": sigma if kind == "gaussian" else None},
        }
        for name, color, kind in zip(
            CHANNELS, COLORS, ("gaussian", "gaussian", "poisson"), strict=True
        )
    ]
    return {
        "dtype": dtype,
        "seed": [seed, number],
        "size": list(size),
        "spacing": list(SPACING),
        "origin": list(ORIGIN),
        "interval": INTERVAL,
        "channels": channels,
        "cells": cells,
    }


def draw_frame(movie: MovieTruth, t: int, c: int, *, noise: bool = True) -> np.ndarray:
    """Draw one volume of a movie that `describe_movie` described.

    Parameters
    ----------
    movie : MovieTruth
        The description.
    t, c : int
        Frame and channel.
    noise : bool
        Without it the truth: background, and cells that are brightest in their centre.

    Returns
    -------
    numpy.ndarray, shape (z, y, x)
        Of the movie's dtype; the truth is float64.
    """
    channel = movie["channels"][c]
    axes = [
        o + np.arange(n) * s
        for o, n, s in zip(movie["origin"], movie["size"], movie["spacing"], strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    image = np.zeros(movie["size"])
    for cell in movie["cells"]:
        first, last = cell.get("frames", (t, t))
        if cell["channel"] == c and first <= t <= last:
            terms = zip(grid, cell["centres"][t], cell["radii"], strict=True)
            inside = 1 - sum(((g - m) / r) ** 2 for g, m, r in terms)
            np.maximum(image, np.sqrt(np.clip(inside, 0, None)), out=image)
    image = channel["background"] + channel["brightness"] * image
    if not noise:
        return image
    rng = np.random.default_rng([*movie["seed"], t, c])
    sigma = channel["noise"]["sigma"]
    noisy = rng.poisson(image).astype(float) if sigma is None else rng.normal(image, sigma)
    return np.clip(noisy.round(), 0, np.iinfo(movie["dtype"]).max).astype(movie["dtype"])
