"""Open files that a user, a stored run or an export names: only regular files of limited size.

A pipe, a device, a socket or a folder is refused before a byte is read, so nothing waits for a writer that never comes.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MEGABYTE = 2**20

LARGEST_TOML = MEGABYTE // 4
"""Bytes of a run file, of a price list and of `.env`. The largest of ours has a hundredth of it."""

LARGEST_PROGRAM = 16 * MEGABYTE
"""Bytes of a program file: 32 demonstrations for each predictor, each with a prompt of the longest kind, take one."""

LARGEST_MANIFEST = 64 * MEGABYTE
"""Bytes of an export's manifest: about 15,000 runs."""

LARGEST_TABLE = 64 * 2**30
"""Bytes of a table in an export: the decisions of a million workers over a thousand years take half of it."""

LARGEST_WEIGHTS = 2**40
"""Bytes of a GGUF file, which is read piece by piece."""

KINDS = (
    (stat.S_ISDIR, errno.EISDIR, "it is a folder"),
    (stat.S_ISFIFO, errno.EINVAL, "it is a pipe"),
    (stat.S_ISSOCK, errno.EINVAL, "it is a socket"),
    (stat.S_ISCHR, errno.EINVAL, "it is a device"),
    (stat.S_ISBLK, errno.EINVAL, "it is a device"),
)
"""What a path may name that is no file: how to tell, the number of the error, and its words."""


def open_file(path: str | Path, *, most: int, inside: str | Path | None = None) -> BinaryIO:
    """The regular file at `path`, open for reading. Close it.

    OSError, whose `strerror` says in a few words why not: it is no regular file, it has more than `most` bytes, or it
    is not `inside` that folder once links are followed.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  the caller closes it
    except ValueError as error:  # a NUL byte
        raise OSError(errno.EINVAL, "no file has such a name", str(path)) from error
    except IsADirectoryError as error:
        raise OSError(errno.EISDIR, "it is a folder", str(path)) from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # how Linux answers for a socket, and for a device that is not there
            raise OSError(errno.EINVAL, "it is no regular file", str(path)) from error
        raise
    try:
        refuse_other_kinds(os.fstat(file.fileno()), path, most=most)
        if inside is not None and not Path(_name_of(file.fileno(), path)).is_relative_to(Path(inside).resolve()):
            raise OSError(errno.EPERM, "it is a link to outside of the folder", str(path))
    except BaseException:
        file.close()
        raise
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe at once, too, instead of when somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def refuse_other_kinds(found: os.stat_result, path: str | Path, *, most: int | None = None) -> None:
    """OSError in a few words unless it is a regular file, of at most `most` bytes."""
    for is_so, number, words in KINDS:
        if is_so(found.st_mode):
            raise OSError(number, words, str(path))
    if most is not None and found.st_size > most:
        raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, at most {most:,} are read", str(path))


def _name_of(number: int, path: str | Path) -> str:
    """The path of an open file without links; on Linux of what was opened, whatever has its name by now."""
    known = f"/proc/self/fd/{number}"
    return os.path.realpath(known if os.path.lexists(known) else path)


def read_bytes(path: str | Path, *, most: int, inside: str | Path | None = None) -> bytes:
    """What is in the regular file at `path`, as `open_file` opens it; also OSError where it grows past `most` bytes."""
    with open_file(path, most=most, inside=inside) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it grows past {most:,} bytes while it is read", str(path))
    return content
