"""``dpipe plan``: what a run would do, and why."""

from typing import Any

import click

from dpipe.build import load_recipe
from dpipe.build import plan as build_plan
from dpipe.cli import options
from dpipe.cli.opening import open_store, settings_of
from dpipe.cli.output import show_rows


@click.command()
@click.argument("recipe")
@options.only
@options.sample
@options.drop
@options.json
@options.store
@options.workers
def plan(
    recipe: str, as_json: bool, store: str | None, workers: str | None, **arguments: Any
) -> None:
    """Say what a run of RECIPE would do, why, and how large it is."""
    choice = build_plan.Choice(arguments["only"], arguments["sample"], drop=arguments["drop"])
    planner = build_plan.Planner(
        open_store(store, create=True), settings_of(workers=workers), choice
    )
    plans = planner.recipe(load_recipe(recipe))
    rows = [part.to_dict() for step in plans for part in step.parts]
    columns = "dataset stem action why partitions bytes_in bytes_out task_memory requests"
    show_rows(rows, as_json, columns.split())
    click.echo(build_plan.notes(plans), nl=False, err=True)
