from .group import cli, main

__all__ = ["cli", "main"]
