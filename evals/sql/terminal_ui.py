"""`sql --ui`: a copy of the database in Harlequin, a program for SQL in the terminal, if it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig

from pipeline.errors import UsageError
from pipeline.store.reader import check_file, snapshot_of

PROGRAM = "harlequin"


def open_ui(db: str) -> int:
    """Show a read-only copy of `db`, also while a run writes it, and remove the copy at the end; the exit code.

    UsageError without Harlequin, without a terminal, or without a database.
    """
    check_file(db)
    program = _program()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--ui needs a terminal for its input and output; without one, give a SELECT")
    with snapshot_of(db) as copy:
        return subprocess.run([program, "--read-only", copy], check=False).returncode


def _program() -> str:
    """The path of Harlequin: that of this environment, else the first in PATH."""
    found = shutil.which(PROGRAM, path=sysconfig.get_path("scripts")) or shutil.which(PROGRAM)
    if found is None:
        raise UsageError(
            "--ui needs Harlequin, which is not installed: uv sync --extra ui, or uv tool install harlequin"
        )
    return found
