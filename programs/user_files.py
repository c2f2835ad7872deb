"""Open files that a user, a stored run or an export names: only regular files of limited size.

A pipe, a device, a socket or a folder is refused before any byte is read, so that nothing waits for a writer that never
comes.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MEGABYTE = 2**20

LARGEST_TOML = MEGABYTE // 4
"""Maximum bytes of a run file, of a price list and of `.env`. Our largest file has a hundredth of that."""

LARGEST_PROGRAM = 16 * MEGABYTE
"""Maximum bytes of a program file. One with 32 of the longest demonstrations for each predictor fits."""

LARGEST_MANIFEST = 64 * MEGABYTE
"""Maximum bytes of an export's manifest: about 15,000 runs."""

LARGEST_TABLE = 64 * 2**30
"""Maximum bytes of a table in an export. The decisions of a million workers over a thousand years take half of that."""

LARGEST_WEIGHTS = 2**40
"""Maximum bytes of a GGUF file, which is read piece by piece."""

KINDS = (
    (stat.S_ISDIR, errno.EISDIR, "it is a folder"),
    (stat.S_ISFIFO, errno.EINVAL, "it is a pipe"),
    (stat.S_ISSOCK, errno.EINVAL, "it is a socket"),
    (stat.S_ISCHR, errno.EINVAL, "it is a device"),
    (stat.S_ISBLK, errno.EINVAL, "it is a device"),
)
"""Kinds of paths that are not files: their test, error number and error message."""


def open_file(path: str | Path, *, most: int, inside: str | Path | None = None) -> BinaryIO:
    """The regular file at `path`, opened for reading; the caller closes it.

    OSError if it is not a regular file, has more than `most` bytes, or is not `inside` that folder after links are
    followed; its `strerror` says in a few words which.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  the caller closes it
    except ValueError as error:  # a NUL byte
        raise OSError(errno.EINVAL, "no file has such a name", str(path)) from error
    except IsADirectoryError as error:
        raise OSError(errno.EISDIR, "it is a folder", str(path)) from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # Linux's error for a socket, and for a missing device
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
    """Open a file without waiting; a pipe would otherwise open only when another process writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def refuse_other_kinds(found: os.stat_result, path: str | Path, *, most: int | None = None) -> None:
    """OSError in a few words unless it is a regular file of at most `most` bytes."""
    for is_so, number, words in KINDS:
        if is_so(found.st_mode):
            raise OSError(number, words, str(path))
    if most is not None and found.st_size > most:
        raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, at most {most:,} are read", str(path))


def _name_of(number: int, path: str | Path) -> str:
    """The path of an open file without links; on Linux, that of the opened file, even if another file has its name
    now."""
    known = f"/proc/self/fd/{number}"
    return os.path.realpath(known if os.path.lexists(known) else path)


def read_bytes(path: str | Path, *, most: int, inside: str | Path | None = None) -> bytes:
    """The contents of the regular file at `path`, opened by `open_file`; also OSError if it grows beyond `most`
    bytes."""
    with open_file(path, most=most, inside=inside) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it grows past {most:,} bytes while it is read", str(path))
    return content
