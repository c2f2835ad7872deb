"""The command line. Its commands are in evals/cli, one function each."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from typing import Any

from typer.main import get_command

from evals.cli import evaluate, play, public_finance, study, traces  # noqa: F401  each adds its commands
from evals.cli.app import app
from evals.cli.options import completed
from pipeline import terminal
from pipeline.errors import EconomistError
from pipeline.parallel.interrupts import INTERRUPTED, exit_code, forget, leave, polite_ends
from programs.visible import visible

QUERY_INTERRUPTED = "Query interrupted"
CRASH_FILE = "llm-economist-crash.log"


def main() -> None:
    """Entry point: errors that a user can act on become one line, and a signal becomes its exit code."""
    forget()
    with terminal.prepared(), polite_ends():
        code = _exit_code()
        with suppress(terminal.OutputLost):
            sys.stdout.flush()
        lost = terminal.end_of_lost_output()
        if lost is not None and code in (0, INTERRUPTED):
            code, told = lost
            if told:
                _print_line(told)
    sys.exit(exit_code() if code == INTERRUPTED else code)


def program() -> None:
    """`main` for a process of its own, which ends after an interrupt even if a library's threads do not."""
    try:
        main()
    except SystemExit as ended:
        leave(ended.code if isinstance(ended.code, int) else int(ended.code is not None))


def _exit_code() -> int:
    """Run the command that was given; its exit code."""
    if known := sys.modules.get("pipeline.store.schema"):
        known.OPENED.clear()  # for processes that run several commands
    try:
        _commands()(args=completed(sys.argv[1:]))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except EconomistError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if _is_interrupt(error):
            return INTERRUPTED
        told = _not_ours(error)
        if told is None:
            _report_bug(error)
        else:
            _say(told)
        return 1
    return 0


def _not_ours(error: Exception) -> str | None:
    """The message for an error outside this program: too little memory, or rows that no run writes."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException":  # DuckDB's, if it is loaded
        return "not enough memory; use fewer agents, years or runs, or a larger machine"
    if "pipeline.store.schema" not in sys.modules:
        return None
    from pipeline.store.damage import flaw

    return flaw()


def _is_interrupt(error: Exception) -> bool:
    """Whether this is Ctrl-C as reported by a library in another language: DuckDB, or pydantic, which names it."""
    return KeyboardInterrupt.__name__ in str(error) or (
        isinstance(error, RuntimeError) and str(error) == QUERY_INTERRUPTED
    )


def _say(error: str) -> None:
    _print_line(f"error: {error}")


def _print_line(text: str) -> None:
    """Print one line on standard error; text from a model or a file cannot move the cursor."""
    print(visible(" ".join(text.splitlines())), file=sys.stderr, flush=True)


@cache
def _commands() -> Any:
    """All commands with their flags, built once, for programs that call `main` many times."""
    return get_command(app)


def _report_bug(error: Exception) -> None:
    """Report an unexpected failure: one line for the user, and the traceback in a file to attach to a bug report."""
    import traceback
    from pathlib import Path

    from programs.models import blotted, without_secrets

    with suppress(OSError):  # a full disk must not hide the error
        said = visible(blotted("".join(traceback.format_exception(error))))
        Path(CRASH_FILE).write_text(said, encoding="utf-8", errors="backslashreplace")
    what = without_secrets(str(error))[:200]
    _say(f"this is a bug: {type(error).__name__}: {what}; the traceback is in {CRASH_FILE}")
