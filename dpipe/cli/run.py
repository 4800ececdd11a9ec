"""``dpipe run``: the part of a recipe that is missing."""

from typing import Any

import click

from dpipe.build import chosen_recipe, plan
from dpipe.cli import options
from dpipe.cli.opening import open_store
from dpipe.cli.running import how, run_and_report


@click.command()
@click.argument("recipe", required=False)
@options.only
@options.sample
@click.option("--retry", metavar="RUN", help="Try again what that run put aside.")
@options.drop
@options.message
@options.store
@options.workers
@options.quiet
def run(recipe: str | None, retry: str | None, **arguments: Any) -> None:
    """Do the part of a RECIPE that is missing."""
    chosen, stems = chosen_recipe(recipe, retry, lambda: open_store(arguments["store"]))
    choice = plan.Choice(arguments["only"], arguments["sample"], stems, arguments["drop"])
    run_and_report(chosen, **how(arguments), choice=choice)
