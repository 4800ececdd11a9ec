"""``dpipe repair``: what ``verify`` finds is brought back."""

import click

from dpipe.checks import repair as checks_repair
from dpipe.cli import options
from dpipe.cli.opening import open_store, settings_of
from dpipe.cli.output import show_rows


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--accept-lost",
    is_flag=True,
    help="Go on without versions and parts that nothing brings back; a new version says so.",
)
@options.store
@options.json
def repair(names: tuple[str, ...], accept_lost: bool, store: str | None, as_json: bool) -> None:
    """Bring back what verify finds, with the same digests; exit 5 if anything cannot be."""
    who = settings_of().author if accept_lost else ""
    done = list(checks_repair.repair(open_store(store), names, accept_lost=who, progress=True))
    rows = [
        {"key": entry.key, "problem": entry.problem, "repair": entry.why_not or "done"}
        for entry in done
    ]
    show_rows(rows, as_json, none="nothing to repair: every object is as it was sealed")
    if any(entry.why_not for entry in done):
        raise click.exceptions.Exit(5)
