"""The command line's root, and what its commands share.

Commands are thin; heavy imports sit inside, so that --help answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time of --help
    help="An economy of language-model agents in which tax policy is designed, voted on and studied.",
)

Db = Annotated[str, typer.Option("--db", help="DuckDB file of the traces")]
DEFAULT_DB = "economist.duckdb"
