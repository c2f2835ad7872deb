"""`sql --ui` shows a copy of the database in Harlequin, also during a run, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import nullcontext, suppress
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine

from pipeline.store.reader import snapshot_of
from pipeline.store.writer import Store

SMALL = ("--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "rules")
DB = "a.duckdb"


class Terminal:
    """`sql --ui` in a terminal of 120 x 40, in a process of its own, which ends with the block."""

    def __init__(self, temporary: Path) -> None:
        self.screen, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        own = dict.fromkeys(("TMPDIR", "HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(temporary))
        command = [sys.executable, "-m", "evals", "sql", "--ui", "--db", DB]
        environment = {**os.environ, **own, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
        os.close(slave)
        self._shown = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.terminate()  # its snapshot and Harlequin go with it
        self.process.wait(60)
        os.close(self.screen)

    @property
    def shown(self) -> str:
        return re.sub(r"\x1b\[[\d;?<>=]*[a-zA-Z]", "", self._shown.decode(errors="replace"))

    def read(self) -> None:
        if select.select([self.screen], [], [], 0.2)[0]:
            with suppress(OSError):  # the other end is closed
                self._shown += os.read(self.screen, 65536)

    def read_until(self, text: str) -> None:
        until = time.monotonic() + 120
        while text not in self.shown:
            assert time.monotonic() < until, self.shown[-2000:]
            assert self.process.poll() is None, self.shown[-2000:]
            self.read()

    def ends_with(self, keys: bytes) -> int:
        """The exit code after these keys."""
        os.write(self.screen, keys)
        until = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < until:
            self.read()
        return self.process.wait(0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("harlequin", path=str(Path(sys.executable).parent)) is None, reason="needs Harlequin")
def test_harlequin_shows_a_copy_during_a_run_which_is_removed_at_the_end(cli: CommandLine, tmp_path: Path) -> None:
    cli("run", *SMALL, "--db", DB)
    with Store(DB, serve=True), Terminal(tmp_path) as terminal:
        terminal.read_until("▶ a db")  # the catalog lists the database
        assert len(list(tmp_path.glob(f"llm-economist-*/{DB}"))) == 1
        assert terminal.ends_with(b"\x11") == 0  # Ctrl-Q
        assert list(tmp_path.glob("llm-economist-*")) == []


@pytest.mark.parametrize("live", [False, True], ids=["at rest", "while a run writes it"])
def test_a_snapshot_has_the_last_commit_and_is_removed(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cli("run", *SMALL, "--db", DB)
    with Store(DB, serve=True) if live else nullcontext() as store:
        if store is not None:
            store.connection.execute("UPDATE runs SET name = 'newest'")
        if live:
            snapshot = in_a_process_of_its_own(tmp_path)
            assert snapshot == "newest"
        else:
            with snapshot_of(DB) as copy, duckdb.connect(copy, read_only=True) as connection:
                assert connection.execute("SELECT count(*) FROM years").fetchone() == (4,)
    assert list(tmp_path.glob("llm-economist-*")) == []


def in_a_process_of_its_own(temporary: Path) -> str:
    code = (
        "import duckdb; from pipeline.store.reader import snapshot_of\n"
        f"with snapshot_of({DB!r}) as copy: print(duckdb.connect(copy, read_only=True).sql('select name from runs'))"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return "newest" if "newest" in done.stdout else done.stdout


def test_what_is_lacking_is_one_line(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = cli("sql", "--ui", "--db", "none.duckdb")
    assert (missing.code, "none.duckdb does not exist" in missing.err) == (2, True)
    cli("run", *SMALL, "--db", DB)
    both = cli("sql", "from runs", "--ui", "--db", DB)
    assert (both.code, "leave the query" in both.err) == (2, True)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    absent = cli("sql", "--ui", "--db", DB)
    assert absent.code == 2
    assert absent.err == (
        "error: --ui needs Harlequin, which is not installed: uv sync --extra ui, or uv tool install harlequin\n"
    )
    monkeypatch.setattr(shutil, "which", lambda name, path=None: "harlequin")
    piped = cli("sql", "--ui", "--db", DB)
    assert (piped.code, "needs a terminal" in piped.err) == (2, True)
