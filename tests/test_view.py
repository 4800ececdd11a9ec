"""What napari is given; napari itself is not needed for it."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest

import dpipe
from dpipe import schema, view
from dpipe.errors import UsageError


@pytest.fixture
def store(tmp_path):
    movie = schema.movie(
        np.zeros((2, 2, 3, 300, 280), "u1"), spacing=(2, 0.5, 0.25), origin=(1, 2, 3),
        channels=["GFP", "DiD"], colors=["00FF00", "FF0000"],
    )  # fmt: skip
    dpipe.save({"Neu1": movie}, str(tmp_path), "leuko", message="")
    return str(tmp_path)


def test_layers_bring_levels_scale_and_colours(store):
    (layer,) = view.layers(store, "leuko")
    assert [level.shape for level in layer["data"]] == [(2, 2, 3, 300, 280), (2, 2, 3, 150, 140)]
    assert layer["scale"] == [1.0, 2.0, 0.5, 0.25]
    assert layer["translate"] == [0.0, 1.0, 2.0, 3.0]
    assert layer["channel_axis"] == 1
    assert layer["name"] == ["Neu1 GFP", "Neu1 DiD"]
    assert layer["colormap"] == ["#00FF00", "#FF0000"]


def test_a_table_is_no_picture(store):
    quality = dpipe.each(dpipe.open(store, "leuko"), "frame-quality")
    dpipe.save(quality, store, "quality", message="")
    with pytest.raises(UsageError, match="holds no pixels"):
        view.layers(store, "quality")


def test_without_napari_it_says_what_to_install(store, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'dpipe\[view\]'"):
        view.view(store, "leuko")


def test_napari_gets_one_call_a_layer(store, monkeypatch):
    calls = []

    class Viewer:
        def __init__(self, title):
            calls.append(title)

        def add_image(self, data, **kwargs):
            calls.append((len(data), sorted(kwargs)))

    napari = ModuleType("napari")
    napari.__spec__ = importlib.util.spec_from_loader("napari", loader=None)
    napari.Viewer, napari.run = Viewer, lambda: calls.append("run")
    monkeypatch.setitem(sys.modules, "napari", napari)
    view.view(store, "leuko", "Neu1")
    wanted = ["channel_axis", "colormap", "multiscale", "name", "scale", "translate"]
    assert calls == ["leuko", (2, wanted), "run"]
