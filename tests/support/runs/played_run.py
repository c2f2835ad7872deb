"""A run played through the command line, and all that it stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.command_line import CommandLine
from support.stores.stored_rows import rows

SMALL = ("--num-agents", "7", "--max-timesteps", "4", "--two-timescale", "2")


def play(cli: CommandLine, db: str, *args: str) -> dict[str, list[tuple[Any, ...]]]:
    result = cli("run", *args, "--db", db)
    assert result.code == 0, result.err
    assert not Path(f"{db}.calls").exists()
    return rows(db)
