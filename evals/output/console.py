"""The one console of the program: nothing that a model, a file or a server says moves a terminal's cursor.

Rich writes escape sequences of its own for colours and progress; in the texts that it is given, control characters are
shown by their numbers. All else that is written, by `print` or by other libraries, passes `pipeline.terminal`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from pipeline.terminal import CONTROL, visible


class Console(RichConsole):
    """Rich's console, with control characters in texts by their numbers."""

    @property
    def file(self) -> IO[str]:
        """Where to write. What we render has been cleaned here, so the stream need not do it once more."""
        found: Any = super().file
        while inner := getattr(found, "rich_proxied_file", None):
            found = inner
        stream: IO[str] = found
        return stream

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of a renderable; those that Rich controls the terminal with stay."""
        for segment in super().render(renderable, options):
            if segment.control or not CONTROL.search(segment.text):
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)

    def render_str(self, text: str, **how: Any) -> Text:
        """Text of a table's cell, which is as wide as it is shown."""
        return super().render_str(visible(text), **how)
