"""Live progress of a run or a sweep: years, tokens, cost, time left; ten plain lines without a terminal."""

from __future__ import annotations

import time
from typing import NamedTuple

from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from evals.output.console import Console
from pipeline.agents.agents import Usage
from pipeline.config import RunConfig
from pipeline.simulation.records import Year
from programs.calls.model_names import HUMAN
from programs.calls.rate_limits import waiting_in_words


def cost_in_words(usage: Usage) -> str:
    """Dollars so far; `?` stands for calls to a model without a known price."""
    return f"${usage.cost_usd:.4f}{' + ?' if usage.unpriced else ''}"


def year_in_words(year: Year, usage: Usage) -> str:
    """The welfare of a year, and the tokens, cost and failed calls of the run so far."""
    failed = f" · {usage.failed} failed calls" if usage.failed else ""
    return f"welfare {year.welfare:.5g} · {usage.tokens:,} tokens · {cost_in_words(usage)}{failed}"


class Waiting(ProgressColumn):
    """The reason why calls are waiting now."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        return Text(waiting_in_words(), style="yellow")


def _bar(console: Console, unit: str, *, live: bool) -> Bar:
    """A line that counts a `unit`, shown if `live`."""
    return Bar(
        TextColumn(unit),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.description}"),
        Waiting(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not live,
    )


class Progress:
    """Use as a context manager; `on_year` is called after every year."""

    def __init__(self, console: Console, config: RunConfig, usage: Usage, start: int = 0) -> None:
        self.console, self.config, self.usage, self.start = console, config, usage, start
        # A live line would hide what a person is asked and types.
        self.live = console.is_terminal and HUMAN not in (config.llm, *config.role_llm.values())
        self.started = time.monotonic()
        self.bar = _bar(console, "year", live=self.live)
        self.task = self.bar.add_task("", total=config.max_timesteps, completed=start)

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.bar.stop()

    def on_year(self, year: Year) -> None:
        words = year_in_words(year, self.usage)
        self.bar.update(self.task, advance=1, description=words)
        total = self.config.max_timesteps
        if not self.live and (year.year + 1) % max(1, total // 10) == 0:
            left = (time.monotonic() - self.started) / (year.year + 1 - self.start) * (total - year.year - 1)
            self.console.print(
                f"year {year.year + 1}/{total} · {words} · {left:.0f} s left", highlight=False, soft_wrap=True
            )


class News(NamedTuple):
    """The progress of one run of a sweep: years played in this sweep, and their cost. `done`: it has ended."""

    key: str
    years: int
    tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    done: bool = False


class SweepProgress:
    """Live progress of a sweep, from the reports of its runs. Use as a context manager; `hear` is called after every
    year.

    `runs`: the number of runs to play, with `years` in total.
    """

    def __init__(self, console: Console, *, runs: int, years: int) -> None:
        self.console, self.runs, self.years = console, runs, years
        self.latest: dict[str, News] = {}
        self.told = 0
        self.live = console.is_terminal
        self.started = time.monotonic()
        self.bar = _bar(console, "years of all runs", live=self.live)
        self.task = self.bar.add_task("", total=years)

    def __enter__(self) -> SweepProgress:
        self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.bar.stop()

    def hear(self, news: News) -> None:
        """Take the latest report of one run, and update the display."""
        self.latest[news.key] = news
        played, done = sum(run.years for run in self.latest.values()), sum(run.done for run in self.latest.values())
        self.bar.update(self.task, completed=played, description=self._words(done))
        tenth = done * 10 // self.runs
        if not self.live and news.done and tenth > self.told:
            self.told = tenth
            left = (time.monotonic() - self.started) / max(1, played) * (self.years - played)
            self.console.print(f"{self._words(done)} · {left:.0f} s left", highlight=False, soft_wrap=True)

    def _words(self, done: int) -> str:
        latest = self.latest.values()
        tokens, cost = sum(run.tokens for run in latest), sum(run.cost_usd for run in latest)
        unknown = " + ?" if any(run.unpriced for run in latest) else ""
        return f"{done}/{self.runs} runs · {tokens:,} tokens · ${cost:.4f}{unknown}"
