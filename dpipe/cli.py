"""The command line: parse, call one function, show. It decides nothing."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import click

import dpipe
from dpipe import (
    catalog,
    checks,
    demo,
    errors,
    plan,
    repair,
    report,
    run,
    tree,
    upkeep,
    view,
    writers,
)
from dpipe._doc_command import doc
from dpipe._given import pairs, refuse, roles
from dpipe._guard import guarded
from dpipe._plot_command import plot as plot_
from dpipe.census import census
from dpipe.census import warnings as differences
from dpipe.config import Settings
from dpipe.metadata import facts_line
from dpipe.objects import Objects
from dpipe.recipe import Recipe, load, operator_step, reader_step

_store = click.option("--store", metavar="URL", help="The store: a folder or s3://bucket/prefix.")
_workers = click.option(
    "--workers", metavar="N|0|tls://...|gateway://...", help="Where tasks run; 0 is this process."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_quiet = click.option("--quiet", is_flag=True, help="No progress bar.")
_option = click.option("--option", multiple=True, metavar="K=V", help="Option of the reader.")
_only = click.option("--only", metavar="PART", help="Only this part.")
_sample = click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="Only N parts of each source."
)
_drop = click.option("--drop", is_flag=True, help="Parts that are gone may leave the dataset.")
_message = click.option("--message", default="", help="For the history.")
_reader = click.option("--reader", metavar="R", help="Which reader.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(dpipe.__version__, package_name="dpipe")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--config", metavar="FILE", help="Settings; by default ./dpipe.toml.")
@click.pass_context
def cli(context: click.Context, debug: bool, config: str | None) -> None:
    """Turn raw bioimage collections into cloud-native, quality-checked data.

    A reader turns foreign files into lazy datasets. The store keeps them as OME-Zarr, in versions.
    An operator makes datasets of datasets, block by block. A recipe says which operators make
    which datasets from which sources; a run does the part of it that is missing, and can be
    killed and repeated at any time. A writer turns datasets into foreign files.
    """
    context.obj = {"debug": debug, "config": config, "open": _open}


cli.add_command(plot_)
cli.add_command(doc)


def _settings(**given: Any) -> Settings:
    context = click.get_current_context().find_root()
    return Settings.load(context.obj["config"], **{k: v for k, v in given.items() if v is not None})


def _open(store: str | None, *, create: bool = False) -> Objects:
    url = store or _settings().store
    if not url:
        raise errors.UsageError("which store? Say --store URL, or set DPIPE_STORE")
    return catalog.open_store(url, create=create)


@cli.command()
@click.argument("name")
@_reader
@click.option("--source", multiple=True, metavar="URL|GLOB", help="What to read; repeatable.")
@_option
@click.option(
    "--set", "said", multiple=True, metavar="K=V", help="Overrule the files: spacing, ..."
)
@click.option("--operator", metavar="O", help="Which operator.")
@click.option("--input", "inputs", multiple=True, metavar="[ROLE=]NAME", help="Its inputs.")
@click.option("--param", multiple=True, metavar="K=V", help="Parameter of the operator.")
@click.option("--levels", type=int, help="Levels of the pyramid.")
@_message
@_store
@_workers
@_quiet
def make(name: str, reader: str | None, operator: str | None, **given: Any) -> None:
    """Make one dataset: a recipe of one step."""
    if bool(reader) == bool(operator):
        raise errors.UsageError("make: say --reader with --source, or --operator with --input")
    if reader and not given["source"]:
        raise errors.UsageError("make: --reader needs --source")
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
    _run(Recipe.of(step), **_where(given))


def _where(given: dict[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in ("store", "workers", "quiet", "message")}


def _run(
    recipe: Recipe,
    *,
    store: str | None,
    workers: str | None,
    quiet: bool,
    message: str = "",
    choice: plan.Choice | None = None,
) -> None:
    """Run, write the report, say what happened, exit with its code."""
    objects, settings = _open(store, create=True), _settings(workers=workers)
    outcome = run.run(recipe, objects, settings, choice=choice, message=message, progress=not quiet)
    where = report.write(objects, outcome)
    for line in report.lines(outcome):
        click.echo(line)
    if where:
        click.echo(f"report: {where}")
    if outcome.exit_code:
        raise click.exceptions.Exit(outcome.exit_code)


@cli.command("run")
@click.argument("recipe", required=False)
@_only
@_sample
@click.option("--retry", metavar="RUN", help="Try again what that run put aside.")
@_drop
@_message
@_store
@_workers
@_quiet
def run_(recipe: str | None, retry: str | None, **given: Any) -> None:
    """Do the part of a RECIPE that is missing."""
    chosen, stems = run.chosen_recipe(recipe, retry, lambda: _open(given["store"]))
    choice = plan.Choice(given["only"], given["sample"], stems, given["drop"])
    _run(chosen, **_where(given), choice=choice)


@cli.command("plan")
@click.argument("recipe")
@_only
@_sample
@_drop
@_json
@_store
@_workers
def plan_(recipe: str, as_json: bool, store: str | None, workers: str | None, **given: Any) -> None:
    """Say what a run of RECIPE would do, why, and how large it is."""
    choice = plan.Choice(given["only"], given["sample"], drop=given["drop"])
    planner = plan.Planner(_open(store, create=True), _settings(workers=workers), choice)
    plans = planner.recipe(load(recipe))
    rows = [part.to_dict() for step in plans for part in step.parts]
    columns = "dataset stem action why partitions bytes_in bytes_out task_memory requests"
    _show(rows, as_json, columns.split())
    click.echo(plan.notes(plans), nl=False, err=True)


@cli.command()
@_store
@_json
def ls(store: str | None, as_json: bool) -> None:
    """List the datasets of a store."""
    objects = _open(store)
    rows, problems = catalog.listing(objects)
    _show(rows, as_json)
    _warn(problems, code=5)


@cli.command()
@click.argument("names", nargs=-1, required=True)
@_store
@_json
def show(names: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Show a version, NAME or NAME@VERSION; tables named after it are joined to its movies."""
    objects = _open(store)
    version, made_from = catalog.resolve(objects, names[0]), catalog.lineage(objects, names[0])
    facts = tree.facts(objects.url, *names)
    if as_json:
        click.echo(json.dumps(version.to_dict() | {"lineage": made_from, "facts": facts}))
        return
    lines = [f"  {stem}: {facts_line(said)}" for stem, said in facts.items()]
    click.echo("\n".join([*catalog.text(version, made_from), *lines]))


@cli.command()
@click.argument("name")
@_store
@_json
def history(name: str, store: str | None, as_json: bool) -> None:
    """List the versions of a dataset, newest first."""
    found = catalog.history(_open(store), name)
    _show([catalog.row(version) for version in found], as_json)
    _warn(found.unreadable, code=5)


@cli.command()
@_store
@_json
def runs(store: str | None, as_json: bool) -> None:
    """List the runs of a store, newest first."""
    _show(upkeep.runs(_open(store)), as_json)


@cli.command()
@click.argument("names", nargs=-1)
@click.option(
    "--mode",
    type=click.Choice(["exists", "bytes", "decode"]),
    default="bytes",
    show_default=True,
    help="Compare sizes; also digests; also decode.",
)
@click.option("--sources", is_flag=True, help="Read the sources again, and compare them too.")
@_store
@_json
def verify(
    names: tuple[str, ...], mode: str, sources: bool, store: str | None, as_json: bool
) -> None:
    """Check datasets against their seals; exit 5 if anything is wrong."""
    silent: list[str] = []
    how: dict[str, Any] = {"mode": mode, "sources": sources, "silent": silent}
    found = [asdict(one) for one in checks.verify(_open(store), names, progress=True, **how)]
    _show(found, as_json, none="every object is as it was sealed")
    if silent:
        _warn([f"what {len(silent)} parts were read from was not recorded; first: {silent[0]}"])
    if found:
        if not as_json:
            click.echo(
                f"found {len(found)}; dpipe repair, with the same --store, mends what it can"
            )
        raise click.exceptions.Exit(5)


@cli.command("repair")
@click.argument("names", nargs=-1)
@click.option(
    "--accept-lost",
    is_flag=True,
    help="Go on without versions and parts that nothing brings back; a new version says so.",
)
@_store
@_json
def repair_(names: tuple[str, ...], accept_lost: bool, store: str | None, as_json: bool) -> None:
    """Bring back what verify finds, with the same digests; exit 5 if anything cannot be."""
    who = _settings().author if accept_lost else ""
    done = list(repair.repair(_open(store), names, accept_lost=who, progress=True))
    rows = [
        {"key": one.key, "problem": one.problem, "repair": one.why_not or "done"} for one in done
    ]
    _show(rows, as_json, none="nothing to repair: every object is as it was sealed")
    if any(one.why_not for one in done):
        raise click.exceptions.Exit(5)


@cli.command("upgrade")
@click.argument("names", nargs=-1)
@_store
@_json
def upgrade_(names: tuple[str, ...], store: str | None, as_json: bool) -> None:
    """Lift datasets of an older dpipe to today's formats; no pixel is read or written."""
    rows = upkeep.upgrade(_open(store), names, author=_settings().author)
    lifted = [row for row in rows if row["lifted"] or row["not recorded"]]
    _show(rows if as_json else lifted, as_json, none="nothing to upgrade")


@cli.command()
@click.argument("writer")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Dataset, or NAME@VERSION; further ones are merged in by stem.",
)
@click.option("--to", required=True, metavar="PATH", help="Folder for the files.")
@click.option("--part", metavar="STEM", help="Only this part.")
@click.option("--where", metavar="EXPR", help="Only records for which it is true, or in a gate.")
@click.option("--option", multiple=True, metavar="K=V", help="Option of the writer.")
@_store
def export(writer: str, inputs: tuple[str, ...], store: str | None, **given: Any) -> None:
    """Write datasets as foreign files."""
    data = tree.open(_open(store).url, *inputs, part=given["part"])
    options = pairs(given["option"], "--option")
    options |= {"where": given["where"]} if given["where"] else {}
    for path in writers.export(data, writer, given["to"], **options):
        click.echo(path)


@cli.command("census")
@click.argument("source", nargs=-1, required=True)
@click.option("--reader", default="imaris", show_default=True, metavar="R", help="Which reader.")
@_option
@_json
def census_(source: tuple[str, ...], reader: str, option: tuple[str, ...], as_json: bool) -> None:
    """Say what is in a SOURCE, from headers only."""
    rows = census(reader, source, options=pairs(option, "--option"))
    _show(rows, as_json, none=f"reader {reader} finds nothing there; dpipe doc lists the readers")
    for line in differences(rows):
        click.echo(f"warning: {line}", err=True)


@cli.command()
@click.option("--delete", is_flag=True, help="Delete; without it nothing is touched.")
@click.option("--grace-hours", type=float, help="Leave what is younger.")
@_store
@_json
def sweep(delete: bool, grace_hours: float | None, store: str | None, as_json: bool) -> None:
    """Find what no version names; a dry run unless --delete."""
    hours = _settings(grace_hours=grace_hours).grace_hours
    found = upkeep.sweep(_open(store), grace_hours=hours, delete=delete)
    _show([asdict(entry) for entry in found], as_json, none="nothing to sweep")


@cli.command("view")
@click.argument("name")
@click.option("--part", metavar="STEM", help="Which part.")
@_store
def view_(name: str, part: str | None, store: str | None) -> None:
    """Open a dataset in napari."""
    view.view(_open(store).url, name, part)


@cli.command("demo")
@click.argument("folder", default="dpipe-demo")
@_workers
@_quiet
def demo_(folder: str, workers: str | None, quiet: bool) -> None:
    """Write a small study, run its recipe, verify it, and say where everything is."""
    store = f"{folder}/store"
    recipe = demo.ensure_study(f"{folder}/study")
    try:
        _run(load(recipe), store=store, workers=workers or "2", quiet=quiet)
    except click.exceptions.Exit as stop:
        if stop.exit_code != run.SOME_ASIDE:  # some: one of the demo's own files is corrupt
            raise
    objects = _open(store)
    found = list(checks.verify(objects, ()))
    versions = [catalog.resolve(objects, name) for name in catalog.names(objects)]
    aside = [entry for version in versions for entry in version.put_aside]
    for line in demo.farewell(folder, found, aside):
        click.echo(line)
    if found:
        raise click.exceptions.Exit(5)


def _show(
    rows: Sequence[dict[str, Any]],
    as_json: bool,
    columns: Sequence[str] = (),
    none: str = "nothing",
) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        click.echo(json.dumps(list(rows), default=str))
        return
    for line in report.table(rows, columns) or [none]:
        click.echo(line)


def _warn(lines: Sequence[str], code: int = 0) -> None:
    for line in lines:
        click.echo(f"warning: {line}", err=True)
    if lines and code:
        raise click.exceptions.Exit(code)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; an error is one line on stderr and an exit code.

    Parameters
    ----------
    args : sequence of str, optional
        By default those of the process.
    """
    sys.exit(guarded(lambda: cli.main(args, "dpipe", standalone_mode=False)))
