"""What a killed process leaves is removed at the next start; what is anybody's else is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pipeline import temporary_files
from pipeline.store.writer import Store

DB = "a.duckdb"


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    temporary_files._sweep_temporary.cache_clear()
    return folder


def old(path: Path, *, folder: bool = False) -> Path:
    """A file or a folder with a file that was last touched an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder:
        path.mkdir()
        (path / "file").write_bytes(b"x")
    else:
        path.write_bytes(b"x")
    os.utime(path, (time.time() - 3600,) * 2)
    return path


def test_what_a_killed_process_left_is_removed_when_the_database_is_opened(dead: int, temporary: Path) -> None:
    left = [
        old(Path(f"{DB}.new-{dead}")),
        old(Path(f"{DB}.new-{dead}.wal")),
        old(Path(f".llm-economist-{dead}-page.html")),
        old(Path(f".llm-economist-{dead}-out-abc"), folder=True),
        old(temporary / f"llm-economist-{dead}-xyz", folder=True),
        old(temporary / f"ray-{dead}-xyz", folder=True),
    ]
    (left[-1] / "session_latest").symlink_to("anywhere")
    os.utime(left[-1], (time.time() - 3600,) * 2)
    address = temporary / "llm-economist-0123.sock"
    with socket.socket(socket.AF_UNIX) as mine:
        mine.bind(str(address))
    os.utime(address, (time.time() - 3600,) * 2)
    Store(DB).close()
    assert [path for path in (*left, address) if path.exists()] == []


def test_cleaning_up_keeps_recent_used_and_foreign_files(dead: int, temporary: Path) -> None:
    kept = [
        old(Path(f"{DB}.new-{os.getppid()}")),
        old(Path(f"{DB}.new-model")),
        old(Path(f"notes.new-{dead}")),
        old(Path(f"other.{DB}.new-{dead}")),
        old(Path(f"llm-economist-report-{dead}")),
        old(temporary / f"llm-economist-{os.getpid()}-xyz", folder=True),
        old(temporary / f"ray-{dead}-xyz", folder=True),
        old(temporary / f"ray-{dead}"),
        old(temporary / "llm-economist-x.sock"),
    ]
    young = Path(f".llm-economist-{dead}-page.html")
    young.write_bytes(b"x")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(temporary / "llm-economist-1.sock"))
        os.utime(temporary / "llm-economist-1.sock", (time.time() - 3600,) * 2)
        listening.listen()
        Store(DB).close()
        assert [path for path in (*kept, young, temporary / "llm-economist-1.sock") if not path.exists()] == []
