"""The command line. Its commands are in evals/commands, one function each."""

from __future__ import annotations

import sys
from contextlib import suppress

import typer

from evals.commands import runs, studies, traces  # noqa: F401  each adds its commands
from evals.commands.app import app
from evals.options import gather_elasticities
from pipeline.errors import EconomistError

QUERY_INTERRUPTED = "Query interrupted"
CRASH_FILE = "llm-economist-crash.log"


def main() -> None:
    """Entry point: errors that a user can act on become one line and their exit code."""
    try:
        app(args=gather_elasticities(sys.argv[1:]))
    except EconomistError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        if isinstance(error, RuntimeError) and str(error) == QUERY_INTERRUPTED:  # Ctrl-C, in DuckDB's words
            sys.exit(130)
        _report_bug(error)
        sys.exit(1)


def _report_bug(error: Exception) -> None:
    """A failure that nobody foresaw: one line for the user, the traceback in a file to send along."""
    import traceback
    from pathlib import Path

    from programs.lm import blotted, without_secrets

    with suppress(OSError):  # a full disk must not hide the error
        Path(CRASH_FILE).write_text(blotted("".join(traceback.format_exception(error))), encoding="utf-8")
    what = without_secrets(str(error))[:200]
    typer.echo(f"error: this is a bug: {type(error).__name__}: {what}; the traceback is in {CRASH_FILE}", err=True)
