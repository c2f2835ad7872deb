"""Temporary files and folders, named after the process that made them, and the removal of those it left behind.

A name begins with `llm-economist-PID-`; in a folder of the user a dot precedes it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

PREFIX = "llm-economist-"
RAY = "ray-"
YOUNG = 60.0
"""Younger files, in seconds, are kept: a process may be about to use them."""

_MADE = re.compile(rf"(?:\.?{PREFIX}|{RAY})(\d+)-")


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A new temporary folder, as a context manager."""
    return tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")


def draft_of(target: Path) -> Path:
    """A path in the folder of `target` for its draft, which is later renamed to `target`."""
    sweep(target.parent)
    return target.with_name(f".{PREFIX}{os.getpid()}-{target.name}")


def draft_folder_of(target: Path) -> Path:
    """A new folder next to `target` for its draft, which is later renamed to `target`."""
    sweep(target.parent)
    return Path(tempfile.mkdtemp(prefix=f".{PREFIX}{os.getpid()}-{target.name}-", dir=target.parent))


def sweep_for(database: str) -> None:
    """Remove what killed processes left: unfinished new databases at this path, and files in the temporary folder."""
    path = Path(database).absolute()
    for left in path.parent.glob(f"{_literal(path.name)}.new-*"):
        pid = left.name.removeprefix(f"{path.name}.new-").partition(".")[0]
        if pid.isdecimal():
            _remove(left, int(pid))
    sweep(path.parent)
    _sweep_temporary()


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            made = _MADE.match(entry.name)
            if made and (not entry.name.startswith(RAY) or Path(entry.path, "session_latest").is_symlink()):
                _remove(Path(entry.path), int(made[1]))


@cache
def _sweep_temporary() -> None:
    """Clean up the system's temporary folder, once per process."""
    folder = Path(tempfile.gettempdir())
    sweep(folder)
    for address in folder.glob(f"{PREFIX}*.sock"):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            if not address.is_socket():
                continue
            client.settimeout(1)
            try:
                client.connect(str(address))
            except ConnectionRefusedError:
                _remove(address, None)


def _remove(path: Path, pid: int | None) -> None:
    """Remove a file or folder if it is the user's own, older than `YOUNG`, and its process has ended."""
    with suppress(OSError):
        found = path.lstat()
        if found.st_uid == os.geteuid() and time.time() - found.st_mtime > YOUNG and (pid is None or _is_gone(pid)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _literal(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
