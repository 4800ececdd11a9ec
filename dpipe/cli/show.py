"""``dpipe show``: a version, and what is known of its parts."""

import json

import click

from dpipe import catalog
from dpipe.cli import options
from dpipe.cli.opening import open_store
from dpipe.metadata import facts_line
from dpipe.plugins import Later

_FACTS = Later("dpipe.api:facts")


@click.command()
@click.argument("names", nargs=-1, required=True)
@options.store
@options.json
def show(names: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Show a version, NAME or NAME@VERSION; tables named after it are joined to its movies."""
    objects = open_store(store)
    version, made_from = catalog.resolve(objects, names[0]), catalog.lineage(objects, names[0])
    facts = catalog.part_facts(objects, version) if len(names) == 1 else None
    if facts is None:  # seals alone cannot tell
        facts = _FACTS(objects.url, *names)
    if as_json:
        click.echo(json.dumps(version.to_dict() | {"lineage": made_from, "facts": facts}))
        return
    lines = [f"  {stem}: {facts_line(movie_facts)}" for stem, movie_facts in facts.items()]
    click.echo("\n".join([*catalog.text(version, made_from), *lines]))
