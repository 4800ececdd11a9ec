"""``dpipe make``: one dataset, a recipe of one step."""

from typing import Any

import click

from dpipe.build import Recipe, operator_step, reader_step
from dpipe.cli import options
from dpipe.cli.arguments import pairs, refuse, roles
from dpipe.cli.running import how, run_and_report
from dpipe.errors import UsageError


@click.command()
@click.argument("name")
@click.option("--reader", metavar="R", help="Which reader.")
@click.option("--source", multiple=True, metavar="URL|GLOB", help="What to read; repeatable.")
@options.option
@click.option(
    "--set", "said", multiple=True, metavar="K=V", help="Overrule the files: spacing, ..."
)
@click.option("--operator", metavar="O", help="Which operator.")
@click.option("--input", "inputs", multiple=True, metavar="[ROLE=]NAME", help="Its inputs.")
@click.option("--param", multiple=True, metavar="K=V", help="Parameter of the operator.")
@click.option("--levels", type=int, help="Levels of the pyramid.")
@options.message
@options.store
@options.workers
@options.quiet
def make(name: str, reader: str | None, operator: str | None, **given: Any) -> None:
    """Make one dataset: a recipe of one step."""
    if bool(reader) == bool(operator):
        raise UsageError("make: say --reader with --source, or --operator with --input")
    if reader and not given["source"]:
        raise UsageError("make: --reader needs --source")
    refuse("reader" if reader else "operator", given)
    if reader:
        options, said = pairs(given["option"], "--option"), pairs(given["said"], "--set")
        step = reader_step(
            name, reader, given["source"], options=options, said=said, levels=given["levels"]
        )
    else:
        params = pairs(given["param"], "--param")
        inputs = roles(given["inputs"])
        step = operator_step(name, str(operator), inputs, params=params, levels=given["levels"])
    run_and_report(Recipe.of(step), **how(given))
