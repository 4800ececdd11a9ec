"""The command line: a group of verbs, each in a file of its own, imported when it is used."""

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

import dpipe
from dpipe.cli.exits import guarded

VERBS = {
    "census": "Say what is in a SOURCE, from headers only.",
    "check-annotations": "Find faults of annotations; exit 5 if there are any.",
    "demo": "Write a small study, run its recipe, verify it, and say where everything is.",
    "doc": "List readers, operators and writers; of one NAME, tell what it takes and gives.",
    "export": "Write datasets as foreign files.",
    "history": "List the versions of a dataset, newest first.",
    "ls": "List the datasets of a store.",
    "make": "Make one dataset: a recipe of one step.",
    "plan": "Say what a run of RECIPE would do, why, and how large it is.",
    "plot": "Draw pictures of datasets.",
    "repair": "Bring back what verify finds, with the same digests; exit 5 if anything cannot be.",
    "run": "Do the part of a RECIPE that is missing.",
    "runs": "List the runs of a store, newest first.",
    "show": "Show a version, NAME or NAME@VERSION; tables named after it are joined to its movies.",
    "sweep": "Find what no version names; a dry run unless --delete.",
    "upgrade": "Lift datasets of an older dpipe to today's formats; no pixel is read or written.",
    "verify": "Check datasets against their seals; exit 5 if anything is wrong.",
    "view": "Open a dataset in napari.",
}
"""First lines of all verbs, each the name of its file, with ``_`` for ``-``."""


class _Verbs(click.Group):
    """Verbs by name; none is imported before it is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        file = name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"dpipe.cli.{file}"), file)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
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
    context.obj = {"debug": debug, "config": config}


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; an error is one line on stderr and an exit code.

    Parameters
    ----------
    args : sequence of str, optional
        By default those of the process.
    """
    sys.exit(guarded(lambda: cli.main(args, "dpipe", standalone_mode=False)))
