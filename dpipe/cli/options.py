"""Options that several verbs take."""

import click

store = click.option("--store", metavar="URL", help="The store: a folder or s3://bucket/prefix.")
workers = click.option(
    "--workers", metavar="N|0|tls://...|gateway://...", help="Where tasks run; 0 is this process."
)
json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
quiet = click.option("--quiet", is_flag=True, help="No progress bar.")
option = click.option("--option", multiple=True, metavar="K=V", help="Option of the reader.")
only = click.option("--only", metavar="PART", help="Only this part.")
sample = click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="Only N parts of each source."
)
drop = click.option("--drop", is_flag=True, help="Parts that are gone may leave the dataset.")
message = click.option("--message", default="", help="For the history.")
