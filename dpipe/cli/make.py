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
def make(name: str, reader: str | None, operator: str | None, **arguments: Any) -> None:
    """Make one dataset: a recipe of one step."""
    if bool(reader) == bool(operator):
        raise UsageError("make: say --reader with --source, or --operator with --input")
    if reader and not arguments["source"]:
        raise UsageError("make: --reader needs --source")
    refuse("reader" if reader else "operator", arguments)
    if reader:
        options, overrides = (
            pairs(arguments["option"], "--option"),
            pairs(arguments["said"], "--set"),
        )
        step = reader_step(
            name,
            reader,
            arguments["source"],
            options=options,
            said=overrides,
            levels=arguments["levels"],
        )
    else:
        params = pairs(arguments["param"], "--param")
        inputs = roles(arguments["inputs"])
        step = operator_step(name, str(operator), inputs, params=params, levels=arguments["levels"])
    run_and_report(Recipe.of(step), **how(arguments))
