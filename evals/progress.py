"""Live progress of a run: year, welfare, tokens, cost and time left; ten plain lines where there is no terminal."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pipeline.config import RunConfig
from pipeline.minds import Usage
from pipeline.records import Year


def cost_in_words(usage: Usage) -> str:
    """Dollars so far; `?` stands for calls to a model without a known price."""
    return f"${usage.cost_usd:.4f}{' + ?' if usage.unpriced else ''}"


class Progress:
    """Use as a context manager; `on_year` is called after every year."""

    def __init__(self, console: Console, config: RunConfig, usage: Usage, start: int = 0) -> None:
        self.console, self.config, self.usage, self.start = console, config, usage, start
        self.live = console.is_terminal
        self.started = time.monotonic()
        self.bar = Bar(
            TextColumn("year"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not self.live,
        )
        self.task = self.bar.add_task("", total=config.max_timesteps, completed=start)

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.bar.stop()

    def on_year(self, year: Year) -> None:
        words = f"welfare {year.welfare:.5g} · {self.usage.tokens:,} tokens · {cost_in_words(self.usage)}"
        if self.usage.failed:
            words += f" · {self.usage.failed} failed calls"
        self.bar.update(self.task, advance=1, description=words)
        total = self.config.max_timesteps
        if not self.live and (year.year + 1) % max(1, total // 10) == 0:
            left = (time.monotonic() - self.started) / (year.year + 1 - self.start) * (total - year.year - 1)
            self.console.print(
                f"year {year.year + 1}/{total} · {words} · {left:.0f} s left", highlight=False, soft_wrap=True
            )
