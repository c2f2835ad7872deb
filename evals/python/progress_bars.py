"""How far a run is, as a notebook shows it: below a cell of Jupyter or marimo, else as the command line does.

Neither needs more than the notebook itself: Jupyter's display is updated in place (without ipywidgets), and marimo has
a bar of its own.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from html import escape
from queue import SimpleQueue
from typing import Any

from evals.output.console import Console
from evals.run.progress import Progress, year_in_words
from pipeline.simulation.records import Year

Shown = Callable[..., Progress]


def display(progress: bool | None) -> tuple[Console, Shown]:
    """Where and how progress is shown: `progress` as `llm_economist.simulate` takes it."""
    silent = Console(file=io.StringIO(), quiet=True)
    if progress is False:
        return silent, Progress
    for found, shown in ((in_marimo, MarimoProgress), (in_jupyter, JupyterProgress)):
        if found():
            return silent, shown
    console = Console(stderr=True)
    # None: a script whose output is read by a program, or kept in a file, prints nothing.
    wanted = progress or (console.is_terminal and sys.stdout.isatty())
    return (console if wanted else silent), Progress


def in_jupyter() -> bool:
    """Whether this is a Jupyter kernel; IPython in a terminal is none."""
    if "ipykernel" not in sys.modules or "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return hasattr(get_ipython(), "kernel")


def in_marimo() -> bool:
    """Whether a marimo notebook runs in an editor or as an app, rather than as a script."""
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


class JupyterProgress(Progress):
    """A bar below the cell, which disappears when the run has ended."""

    def __enter__(self) -> JupyterProgress:
        import IPython.display as ipython

        show: Any = ipython.display
        self.handle: Any = show(self._drawn(self.start, ""), display_id=True)
        return self

    def on_year(self, year: Year) -> None:
        self.handle.update(self._drawn(year.year + 1, year_in_words(year, self.usage)))

    def stop(self) -> None:
        self.handle.update(_html(""))

    def _drawn(self, done: int, words: str) -> Any:
        total = self.config.max_timesteps
        return _html(f"<progress value='{done}' max='{total}'></progress> year {done} of {total} {escape(words)}")


def _html(text: str) -> Any:
    import IPython.display as ipython

    make: Any = ipython.HTML
    return make(text)


class MarimoProgress(Progress):
    """marimo's own bar below the cell, which disappears when the run has ended.

    The years of a run are played in another thread than the cell's, and marimo shows only what the cell's thread or a
    `mo.Thread` says; so such a thread passes on what it hears.
    """

    def __enter__(self) -> MarimoProgress:
        import marimo as mo

        self.heard: SimpleQueue[str | None] = SimpleQueue()
        total = self.config.max_timesteps - self.start
        self.shown: Any = mo.status.progress_bar(total=total, title="years", remove_on_exit=True)
        bar = self.shown.__enter__()

        def tell() -> None:
            while (words := self.heard.get()) is not None:
                bar.update(subtitle=words)

        self.thread = mo.Thread(target=tell)
        self.thread.start()
        return self

    def on_year(self, year: Year) -> None:
        self.heard.put(year_in_words(year, self.usage))

    def stop(self) -> None:
        self.heard.put(None)
        self.thread.join()
        self.shown.__exit__(None, None, None)
