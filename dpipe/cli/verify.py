"""``dpipe verify``: datasets held against their seals."""

from dataclasses import asdict

import click

from dpipe.checks import store as checks_store
from dpipe.cli import options
from dpipe.cli.opening import open_store
from dpipe.cli.output import show_rows, warn


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--mode",
    type=click.Choice(["exists", "bytes", "decode"]),
    default="bytes",
    show_default=True,
    help="Compare sizes; also digests; also decode.",
)
@click.option("--sources", is_flag=True, help="Read the sources again, and compare them too.")
@options.store
@options.json
def verify(
    names: tuple[str, ...], mode: str, sources: bool, store: str | None, as_json: bool
) -> None:
    """Check datasets against their seals; exit 5 if anything is wrong."""
    silent: list[str] = []
    findings = checks_store.verify(
        open_store(store), names, mode=mode, sources=sources, silent=silent, progress=True
    )
    rows = [asdict(finding) for finding in findings]
    show_rows(rows, as_json, none="every object is as it was sealed")
    if silent:
        warn([f"what {len(silent)} parts were read from was not recorded; first: {silent[0]}"])
    if rows:
        if not as_json:
            click.echo(f"found {len(rows)}; dpipe repair, with the same --store, mends what it can")
        raise click.exceptions.Exit(5)
