"""Live progress of an optimization: calls against the budget, trials, best dev score, cost; plain lines elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Task as Bar
from rich.text import Text

from evals.optimize.trials import Trial, Trials
from evals.output.console import Console
from evals.run.progress import cost_in_words
from pipeline.studies.study import Study


class _Used(ProgressColumn):
    """The calls and cost of the study so far, which grow between trials and from several threads."""

    max_refresh = 0.5

    def __init__(self, study: Study, budget: int) -> None:
        super().__init__()
        self.study, self.budget = study, budget

    def render(self, task: Bar) -> Text:
        calls = self.study.allowance.calls
        task.completed = min(calls, self.budget)
        return Text(f"{calls:,}/{self.budget:,} calls · {cost_in_words(self.study.usage)}")


class TrialProgress:
    """Use as a context manager around code that prints nothing else; `on_trial` is called for every trial."""

    def __init__(self, console: Console, study: Study, budget: int) -> None:
        self.console, self.study, self.budget = console, study, budget
        columns = (BarColumn(), _Used(study, budget), TextColumn("{task.description}"), TimeElapsedColumn())
        self.bar = Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.task = self.bar.add_task("", total=budget)

    def __enter__(self) -> TrialProgress:
        self.console.file = self.console.file  # keep the current stream: DSPy's prints are redirected
        self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.bar.stop()

    def on_trial(self, trial: Trial, trials: Trials) -> None:
        best = f" · best on dev {trials.best.score:.3f}" if trials.whole else ""
        self.bar.update(self.task, description=f"trial {trial.number}{best}")
        if not self.console.is_terminal:
            self.console.print(
                f"trial {trial.number}: {trial.score:.3f} on {len(trial.scores)} {trial.split} examples{best} · "
                f"{self.study.allowance.calls:,}/{self.budget:,} calls · {cost_in_words(self.study.usage)}",
                highlight=False,
                soft_wrap=True,
            )


@contextmanager
def silence() -> Iterator[None]:
    """Silence DSPy's optimizers, whose prints, logs and bars would garble ours."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
