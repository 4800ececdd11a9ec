"""``dpipe demo``: a small study, its recipe, and a store of it."""

import click

from dpipe import catalog
from dpipe import demo as study
from dpipe.build import SOME_ASIDE, load_recipe
from dpipe.checks import store as checks_store
from dpipe.cli import options
from dpipe.cli.opening import open_store
from dpipe.cli.running import run_and_report


@click.command()
@click.argument("folder", default="dpipe-demo")
@options.workers
@options.quiet
def demo(folder: str, workers: str | None, quiet: bool) -> None:
    """Write a small study, run its recipe, verify it, and say where everything is."""
    store = f"{folder}/store"
    recipe = study.ensure_study(f"{folder}/study")
    try:
        run_and_report(load_recipe(recipe), store=store, workers=workers or "2", quiet=quiet)
    except click.exceptions.Exit as stop:
        if stop.exit_code != SOME_ASIDE:  # some: one of the demo's own files is corrupt
            raise
    objects = open_store(store)
    findings = list(checks_store.verify(objects, ()))
    versions = [catalog.resolve(objects, name) for name in catalog.names(objects)]
    aside = [entry for version in versions for entry in version.put_aside]
    for line in study.farewell(folder, findings, aside):
        click.echo(line)
    if findings:
        raise click.exceptions.Exit(5)
