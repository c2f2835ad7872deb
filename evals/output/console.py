"""The program's one console: no text from a model, a file or a server can control the terminal.

Rich writes escape sequences for colours and progress; control characters in its input texts are shown by their numbers.
All other output, by `print` or by other libraries, passes through `pipeline.terminal`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from programs.visible import CONTROL, visible


class Console(RichConsole):
    """Rich's console, with control characters in texts shown by their numbers."""

    @property
    def file(self) -> IO[str]:
        """The output stream. Rendered text is already clean, so the stream need not clean it again."""
        found: Any = super().file
        while inner := getattr(found, "rich_proxied_file", None):
            found = inner
        stream: IO[str] = found
        return stream

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def widen(self, width: int) -> None:
        """Without a terminal, print tables up to `width` columns wide."""
        if not self.is_terminal:
            self.width = max(self.width, width)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments of a renderable; Rich's own control sequences stay."""
        for segment in super().render(renderable, options):
            if segment.control or not CONTROL.search(segment.text):
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)

    def render_str(self, text: str, **how: Any) -> Text:
        """Text of a table cell, measured as it is shown."""
        return super().render_str(visible(text), **how)
