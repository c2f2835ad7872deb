"""Standard output and standard error of a process: no character, and no reader that is gone, breaks a command.

All that is written passes here. On a terminal, and on standard error always, control characters are shown by their
numbers, whichever library writes them; to a pipe or a file, standard output is exact.
What an encoding lacks is written in ASCII. A standard output that cannot be written any more (a closed pipe, a full
device) is an interrupt, once: what was played is stored, and later words are dropped.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

LEGIBLE = "llm-economist-legible"
"""The name of our handler of what an encoding cannot say."""

ASCII = "llm-economist-ascii"
"""The name of our codec of ASCII."""

TWINS = str.maketrans(
    {
        **dict.fromkeys("·•\u2010\u2011\u2012\u2013\u2014\u2015\u2212─", "-"),
        **dict.fromkeys("\u2018\u2019\u201a\u2032", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u2033", '"'),
        **dict.fromkeys("\u00a0\u2009\u202f", " "),
        **dict.fromkeys("█▇▆▅▄▃", "#"),
        **dict.fromkeys("▂▁", "."),
        **dict.fromkeys("├└│", "|"),
        "…": "...",
        "±": "+/-",
        "\u00d7": "x",
        "→": "->",
        "←": "<-",
        "≤": "<=",
        "≥": ">=",
    }
)
"""Typography in ASCII; any other character is named by its number."""


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a model or a file could move a terminal's cursor with, or turn its text round."""


def visible(text: str) -> str:
    """`text` with control characters by their numbers; tabs and line breaks stay.

    >>> visible("\x1b[2J")
    '\\\\x1b[2J'
    """
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


class _Screen(io.TextIOWrapper):
    """A terminal, or standard error: whoever writes to it, control characters are shown by their numbers."""

    def write(self, text: str, /) -> int:
        super().write(visible(text))
        return len(text)

    @property
    def rich_proxied_file(self) -> _Rendered:
        """For our console (evals/output/console.py), whose colours are its own, and which cleans all texts itself."""
        return _Rendered(self)


class _Rendered:
    """The same stream for what has been cleaned already."""

    def __init__(self, screen: _Screen) -> None:
        self._screen = screen

    def write(self, text: str) -> int:
        return io.TextIOWrapper.write(self._screen, text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "rich_proxied_file":
            raise AttributeError(name)
        return getattr(self._screen, name)


class OutputLost(KeyboardInterrupt):
    """Standard output cannot be written any more. Who handles Ctrl-C handles this, too."""


_reason: str | None = None
"""Why standard output cannot be written any more."""

_instead: str | None = None
"""What its user must be told on standard error then."""


def legible(error: UnicodeError) -> tuple[str, int]:
    """What to write for characters that an encoding lacks: the twin in ASCII, or the number as Python and JSON have it.

    >>> "0 ± 1 · 日本".encode("ascii", LEGIBLE).decode()
    '0 +/- 1 - \\\\u65e5\\\\u672c'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(TWINS)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end


def _ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under a name of ours: Typer writes UTF-8 to a stream that it knows to be ASCII."""
    if name != ASCII.replace("-", "_"):
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode,
        known.decode,
        known.streamreader,
        known.streamwriter,
        known.incrementalencoder,
        known.incrementaldecoder,
        ASCII,
    )


codecs.register_error(LEGIBLE, legible)
codecs.register(_ascii)


def says_everything(stream: TextIO) -> bool:
    """Whether the encoding of `stream` has all characters."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-").startswith("utf")


class _Watched(io.RawIOBase):
    """The bytes of standard output. The first failure is an `OutputLost`; what comes later is dropped."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.told = False

    def write(self, data: Any) -> int:
        if _reason is None:
            try:
                return int(self.raw.write(data) or 0)
            except OSError as error:
                _lose(error)
        if not self.told and threading.current_thread() is threading.main_thread():
            self.told = True
            raise OutputLost(_reason)
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self.raw.fileno())

    def isatty(self) -> bool:
        return bool(self.raw.isatty())

    @property
    def name(self) -> Any:
        return self.raw.name

    @property
    def mode(self) -> Any:
        return self.raw.mode


class _Forgiving(_Watched):
    """The same for bytes that nobody is told of: what cannot be written is dropped."""

    def write(self, data: Any) -> int:
        try:
            return int(self.raw.write(data) or 0)
        except OSError:
            return len(data)


def _lose(error: OSError) -> None:
    global _reason
    _reason = error.strerror or str(error)


def lost() -> str | None:
    """Why standard output cannot be written any more; None as long as it can."""
    return _reason


def instead(words: str) -> None:
    """What the user must be told on standard error, should standard output be lost."""
    global _instead
    _instead = words


def farewell() -> str | None:
    """The line that tells of a lost standard output, or None."""
    if _reason is None:
        return None
    return f"standard output cannot be written ({_reason}){f'; {_instead}' if _instead else ''}"


@contextmanager
def prepared() -> Iterator[None]:
    """Meanwhile no word that is written to standard output or standard error ends the process. Flushes both at the end.

    Raises OutputLost, in the main thread and once, where standard output cannot be written any more.
    """
    global _reason, _instead
    before = sys.stdout, sys.stderr
    _reason, _instead = None, None
    _prepare(_Watched)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, OutputLost):
                stream.flush()
        sys.stdout, sys.stderr = before


def prepare() -> None:
    """The same for as long as the process lives, but for OutputLost: for a process that works for another."""
    _prepare(_Forgiving)


def _prepare(kind: type[_Watched]) -> None:
    _open_closed()
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _watched(sys.stdout, 1, kind)
    sys.stderr = _watched(sys.stderr, 2, _Forgiving)


def _open_closed() -> None:
    """Give what a shell has closed (`>&-`) to the null device: else the next file that is opened, the database, would
    have the number of standard output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)


def _watched(stream: TextIO | None, number: int, kind: type[_Watched]) -> TextIO:
    """`stream` with an answer to every character and every failure."""
    if stream is None:
        return open(number, "w", encoding="utf-8", errors=LEGIBLE, closefd=False)
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if stream is not (sys.__stdout__ if number == 1 else sys.__stderr__) or not isinstance(raw, io.RawIOBase):
        stream.reconfigure(errors=LEGIBLE)
        return stream
    stream.flush()
    screen = _Screen if number == 2 or stream.isatty() else io.TextIOWrapper
    return screen(
        io.BufferedWriter(kind(raw)),
        encoding=ASCII if codecs.lookup(stream.encoding).name == "ascii" else stream.encoding,
        errors=LEGIBLE,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
