"""The settings and the store that a command line means."""

from typing import Any

import click

from dpipe import catalog
from dpipe.config import Settings
from dpipe.errors import UsageError
from dpipe.storage import Objects


def settings_of(**settings: Any) -> Settings:
    """Return the settings, those of the command line before all others."""
    context = click.get_current_context().find_root()
    return Settings.load(
        context.obj["config"], **{k: v for k, v in settings.items() if v is not None}
    )


def open_store(store: str | None, *, create: bool = False) -> Objects:
    """Open the store that is said on the command line, or else in the settings."""
    url = store or settings_of().store
    if not url:
        raise UsageError("which store? Say --store URL, or set DPIPE_STORE")
    return catalog.open_store(url, create=create)
