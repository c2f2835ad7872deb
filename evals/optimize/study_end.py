"""The end of a study: its status however it ends, and how to resume it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from evals.output.console import Console
from pipeline.errors import EconomistError, StoreError, UsageError
from pipeline.parallel.interrupts import noted_interrupts, polite_ends, was_interrupted
from pipeline.studies.study import Halted, Study
from pipeline.terminal import note_if_lost
from programs.models import without_secrets


@contextmanager
def end_told(study: Study, console: Console) -> Iterator[None]:
    """Set the status of a study however it ends, and print how to resume an interrupted one."""
    with polite_ends(), noted_interrupts():
        try:
            yield
        except KeyboardInterrupt:
            _tell_interrupted(study, console)
        except Halted as halted:
            raise failed(study, halted.error) from halted.error
        except UsageError as error:
            study.save("failed", error=str(error))
            raise
        except Exception:
            if not was_interrupted():  # DSPy has "Execution cancelled due to errors or interruption."
                raise
            _tell_interrupted(study, console)


def _tell_interrupted(study: Study, console: Console) -> None:
    study.save("interrupted")
    told = "all replies are stored; repeat the command to resume"
    note_if_lost(f"interrupted: {told}", unfinished=True)
    console.print(f"[bold]interrupted[/bold]: {told}", soft_wrap=True)


def failed(study: Study, error: Exception) -> Exception:
    """The error to raise for a failed study; marks the study as failed if its store still works."""
    if not isinstance(error, StoreError):
        study.save("failed", error=without_secrets(f"{type(error).__name__}: {error}")[:300])
    if not isinstance(error, EconomistError):
        return error
    return type(error)(f"{error}; the study is stored; repeat the command to resume")
