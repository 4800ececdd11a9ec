"""A run from the command line: run, write the report, say what happened, exit with its code."""

from collections.abc import Mapping
from typing import Any, TypedDict

import click

from dpipe import report
from dpipe.build import Recipe, plan, run
from dpipe.cli.opening import open_store, settings_of


def run_and_report(
    recipe: Recipe,
    *,
    store: str | None,
    workers: str | None,
    quiet: bool,
    message: str = "",
    choice: plan.Choice | None = None,
) -> None:
    """Run, write the report, say what happened, exit with its code."""
    objects, settings = open_store(store, create=True), settings_of(workers=workers)
    outcome = run.run(recipe, objects, settings, choice=choice, message=message, progress=not quiet)
    where = "" if outcome.nothing else report.write(objects, outcome)
    for line in report.lines(outcome):
        click.echo(line)
    if where:
        click.echo(f"report: {where}")
    if outcome.exit_code:
        raise click.exceptions.Exit(outcome.exit_code)


class RunArguments(TypedDict):
    """Arguments of a verb that say where and how a run goes."""

    store: str | None
    workers: str | None
    quiet: bool
    message: str


def how(arguments: Mapping[str, Any]) -> RunArguments:
    """Return those of a verb's arguments that say where and how a run goes."""
    return RunArguments(
        store=arguments["store"],
        workers=arguments["workers"],
        quiet=arguments["quiet"],
        message=arguments["message"],
    )
