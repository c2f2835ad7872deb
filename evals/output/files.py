"""Write a file as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.temporary_files import draft_of


def writable(path: str, *, not_over: str, flag: str) -> Path:
    """The file that `path` names. UsageError if it cannot be written, before any content exists."""
    target = Path(path).resolve()  # a link is followed, not replaced
    if target.exists() and not target.is_file() and not target.is_dir():
        raise UsageError(f"{flag} {path} is not a file; leave {flag} out to write to the terminal or a pipe")
    if target.is_dir():
        raise UsageError(f"{flag} {path} is a folder; expected a file")
    if target.exists() and Path(not_over).exists() and target.samefile(not_over):
        raise UsageError(f"{flag} {path} is the database itself; choose another file")
    if not target.parent.is_dir():
        raise UsageError(f"{flag} {path} cannot be written (No such file or directory)")
    return target


@contextmanager
def whole_file(path: str, *, not_over: str, flag: str = "--output") -> Iterator[Path]:
    """A temporary file that becomes `path` if nothing fails. UsageError if it cannot be written."""
    target = writable(path, not_over=not_over, flag=flag)
    part = draft_of(target)
    try:
        part.touch()
        yield part
        part.replace(target)
    except OSError as error:
        raise UsageError(f"{flag} {path} cannot be written ({error.strerror or error})") from error
    finally:
        part.unlink(missing_ok=True)
