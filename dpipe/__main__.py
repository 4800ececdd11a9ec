"""``python -m dpipe``."""

from dpipe.cli import main

main()
