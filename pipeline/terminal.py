"""Safe standard output and standard error: control characters, missing encodings and closed pipes break no command.

On a terminal, and always on standard error, control characters appear as escapes, whichever library writes them.
Standard output to a pipe or a file is exact. Characters that the encoding lacks are written in ASCII. If standard
output cannot be written any more (a closed pipe, a full disk), the command is interrupted once: finished years are
stored, and later output is dropped. A closed pipe, as in `| head`, is no error: its reader wants no more.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from programs.visible import visible

LEGIBLE = "llm-economist-ascii_replacement"
"""The name of our error handler for characters that an encoding lacks."""

ASCII = "llm-economist-ascii"
"""The name of our ASCII codec."""

SIMILAR_ASCII = str.maketrans(
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
"""ASCII for typographic characters; any other character becomes an escape."""


class _Screen(io.TextIOWrapper):
    """A terminal, or standard error, that shows control characters as escapes."""

    def write(self, text: str, /) -> int:
        super().write(visible(text))
        return len(text)

    @property
    def rich_proxied_file(self) -> _Rendered:
        """For our console (evals/output/console.py), which writes its own colors and escapes all text itself."""
        return _Rendered(self)


class _Rendered:
    """The same stream for text that is escaped already."""

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
    """Standard output cannot be written any more. A KeyboardInterrupt, so that handlers of Ctrl-C handle it too."""


_reason: str | None = None
"""Why standard output cannot be written any more."""

_reader_left = False
"""Whether the reason is that the reader of a pipe has closed it."""

CLOSED_PIPE = 128 + 13
"""The exit code of a command whose reader wants no more, as of one that SIGPIPE ended."""

_instead: str | None = None
"""The text to add on standard error if standard output is lost."""

_unfinished = False
"""Whether that text says how to continue work that was cut off."""


def ascii_replacement(error: UnicodeError) -> tuple[str, int]:
    """A replacement for characters that an encoding lacks: similar ASCII, or an escape as in Python and JSON.

    >>> "0 ± 1 · 日本".encode("ascii", LEGIBLE).decode()
    '0 +/- 1 - \\\\u65e5\\\\u672c'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end].translate(SIMILAR_ASCII)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end


def _ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII under our own name: Typer would write UTF-8 to a stream whose encoding is called ascii."""
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


codecs.register_error(LEGIBLE, ascii_replacement)
codecs.register(_ascii)


def is_unicode(stream: TextIO) -> bool:
    """Whether the encoding of `stream` is Unicode."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("_", "-").startswith("utf")


class _Watched(io.RawIOBase):
    """The raw bytes of standard output. The first failure raises `OutputLost`; later output is dropped."""

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


class _FailuresDropped(_Watched):
    """The same without an error: output that cannot be written is dropped."""

    def write(self, data: Any) -> int:
        try:
            return int(self.raw.write(data) or 0)
        except OSError:
            return len(data)


def _lose(error: OSError) -> None:
    global _reason, _reader_left
    _reason = error.strerror or str(error)
    _reader_left = error.errno == errno.EPIPE


def lost() -> str | None:
    """Why standard output cannot be written any more, or None."""
    return _reason


def note_if_lost(words: str, *, unfinished: bool) -> None:
    """Set the text to add on standard error if standard output is lost; `unfinished`: it says how to continue."""
    global _instead, _unfinished
    _instead, _unfinished = words, unfinished


def end_of_lost_output() -> tuple[int, str | None] | None:
    """If standard output was lost: the exit code, and the line for standard error, if one is due.

    A closed pipe ends a command silently, unless it has cut off work that can be continued.
    """
    if _reason is None:
        return None
    if _reader_left:
        return CLOSED_PIPE, _instead if _unfinished else None
    return 1, f"error: standard output cannot be written ({_reason}){f'; {_instead}' if _instead else ''}"


@contextmanager
def prepared() -> Iterator[None]:
    """Make both output streams safe within the block, and flush them at its end.

    Raises OutputLost once, in the main thread, if standard output cannot be written any more.
    """
    global _reason, _reader_left, _instead, _unfinished
    before = sys.stdout, sys.stderr
    _reason, _reader_left, _instead, _unfinished = None, False, None, False
    _prepare(_Watched)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, OutputLost):
                stream.flush()
        sys.stdout, sys.stderr = before


def prepare() -> None:
    """The same for the rest of the process and without OutputLost: for worker processes."""
    _prepare(_FailuresDropped)


def _prepare(kind: type[_Watched]) -> None:
    _open_closed()
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _watched(sys.stdout, 1, kind)
    sys.stderr = _watched(sys.stderr, 2, _FailuresDropped)


def _open_closed() -> None:
    """Open the null device for streams that the shell closed (`>&-`): else the next file opened, the database, would
    get the file descriptor of standard output."""
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
    """`stream` wrapped so that every character and every failure is handled."""
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
