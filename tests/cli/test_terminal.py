"""Standard output with a limited encoding, a closed pipe, a full device or no stream: real processes, real pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine

from pipeline import terminal
from programs.visible import CONTROL, visible

SMALL = ("--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "rules")
LONG = ("--num-agents", "3", "--max-timesteps", "50", "--llm", "rules")
"""It tells of ten years, long after whoever wants the first of them is gone."""
DB = "a.duckdb"
ENCODINGS = ("cp932", "ascii", *(pytest.param(e, marks=pytest.mark.slow) for e in ("latin-1", "cp437", "utf-16")))


def call(*args: str, encoding: str = "utf-8", **more: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    return subprocess.run(
        [sys.executable, "-m", "evals", *args], env=environment, capture_output=not more, check=False, **more
    )


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `$E` is the program."""
    environment = {**os.environ, "E": f"{sys.executable} -m evals"}
    return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)


@given(st.text(), st.sampled_from(["cp932", "ascii", "latin-1", "utf-8", "cp1252", "koi8-r"]))
def test_every_text_can_be_encoded_and_encodable_characters_are_unchanged(text: str, encoding: str) -> None:
    written = text.encode(encoding, terminal.LEGIBLE).decode(encoding)
    sayable = text.encode(encoding, "ignore").decode(encoding)
    left = iter(written)
    assert all(char in left for char in sayable)  # in their order


@given(st.text())
def test_visible_text_moves_no_cursor(text: str) -> None:
    assert not CONTROL.search(visible(text))


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_command_fails_for_a_character(encoding: str) -> None:
    assert call("run", *SMALL, "--db", DB, "--name", "日本 · ±").returncode == 0
    for args in (
        ("run", *SMALL, "--db", DB),
        ("runs", "--db", DB),
        ("sql", "select name from runs where run_id = 1", "--db", DB, "--format", "csv"),
        ("strategies",),
        ("run", "--help"),
    ):
        done = call(*args, encoding=encoding)
        assert done.returncode == 0, (args, done.stderr)
        done.stdout.decode(encoding)
        assert b"Traceback" not in done.stderr
    rows = json.loads(call("sql", "from runs where run_id = 1", "--db", DB, "--json", encoding=encoding).stdout)
    assert rows[0]["name"] == "日本 · ±"
    wrong = call("runs", "--db", "日本.duckdb", encoding=encoding)
    assert wrong.returncode == 2
    assert wrong.stderr.decode(encoding).startswith("error: ")
    if encoding == "ascii":
        assert r"\u65e5\u672c.duckdb does not exist" in wrong.stderr.decode()


@pytest.mark.slow
def test_tables_have_boxes_of_ascii_where_the_encoding_lacks_others() -> None:
    call("run", *SMALL, "--db", DB)
    shown = call("runs", "--db", DB, encoding="ascii").stdout.decode("ascii")
    assert "+---" in shown
    assert "\\u" not in shown


@pytest.mark.slow
def test_processes_of_a_sweep_do_not_fail_for_a_character() -> None:
    Path("loud.py").write_text(
        "import dspy\n"
        "class Loud(dspy.Module):\n"
        "    def __init__(self, signature):\n"
        "        super().__init__()\n"
        "    async def aforward(self, **inputs):\n"
        "        print('日本 · ±')\n"
        "        return dspy.Prediction(labor=40)\n",
        encoding="utf-8",
    )
    arms = ("compare", "worker=io", "worker=loud:Loud", "--seeds", "2", "--parallel", "2", "--db", DB, *SMALL)
    done = call(*arms, encoding="ascii")
    assert done.returncode == 0, done.stderr
    done.stdout.decode("ascii")


def statuses(cli: CommandLine) -> list[str]:
    return [row["status"] for row in cli.sql("select status from runs order by run_id", DB)]


@pytest.mark.slow
def test_a_run_with_a_closed_pipe_is_interrupted_and_can_be_resumed(cli: CommandLine) -> None:
    done = shell(f"$E run {' '.join(LONG)} --db {DB} | grep -m1 -q ^year; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == terminal.CLOSED_PIPE
    assert statuses(cli) == ["interrupted"]
    (told,) = done.stderr.splitlines()
    assert told.startswith("run 1 is interrupted: ")
    assert f"llm-economist resume 1 --db {DB}" in told
    [row] = cli.sql("select count(*) as years from years", DB)
    assert row["years"] > 0
    again = shell(f"$E resume 1 --db {DB} | head -1; exit ${{PIPESTATUS[0]}}")
    assert again.returncode == terminal.CLOSED_PIPE
    assert statuses(cli) == ["interrupted"]
    assert cli.sql("select count(*) as years from years", DB)[0]["years"] > row["years"]


@pytest.mark.slow
def test_a_run_whose_summary_cannot_be_printed_is_still_finished(cli: CommandLine) -> None:
    done = shell(f"$E run {' '.join(SMALL)} --db {DB} | grep -m1 -q '^year 4/4'; exit ${{PIPESTATUS[0]}}")
    assert statuses(cli) == ["finished"]
    assert done.returncode in (0, terminal.CLOSED_PIPE)  # the pipe may take all of the rest before its reader ends
    assert done.stderr == ""


def without_reader(*args: str) -> tuple[int, bytes]:
    """The exit code and standard error of a command whose standard output is a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = call(*args, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("args", ["--help", "runs --json --db a.duckdb", "incidence 1 --db a.duckdb"])
def test_a_closed_pipe_ends_a_command_silently_as_it_ends_other_tools(cli: CommandLine, args: str) -> None:
    cli("run", *SMALL, "--db", DB)
    assert without_reader(*args.split()) == (128 + signal.SIGPIPE, b"")


@pytest.mark.slow
def test_a_failing_command_reports_its_error_although_its_output_is_closed() -> None:
    code, told = without_reader("runs", "--db", "none.duckdb")
    assert (code, told[:6]) == (2, b"error:")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device without room")
def test_a_full_device_is_reported_in_one_line_and_not_as_a_bug(cli: CommandLine) -> None:
    cli("run", *SMALL, "--db", DB)
    for args in (
        f"run {' '.join(SMALL)} --db b.duckdb",
        f"runs --db {DB}",
        f"sql 'from decisions' --db {DB} --format csv",
        f"export 1 --to out --db {DB}",
        "strategies --json",
        "--help",
        "bench prompts --json --max-timesteps 2",
        f"compare worker=io worker=cot --seeds 1 --db {DB} {' '.join(SMALL)}",
    ):
        done = shell(f"$E {args} > /dev/full")
        assert (args, done.returncode) == (args, 1)
        assert done.stderr.splitlines()[-1].startswith("error: standard output cannot be written (No space left on")
        assert "bug" not in done.stderr
        assert "Traceback" not in done.stderr
    assert not Path("llm-economist-crash.log").exists()


def test_bad_usage_has_exit_code_2_wherever_it_is_reported() -> None:
    done = shell("$E runs --db none.duckdb > /dev/full")
    assert done.returncode == 2
    assert "does not exist" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/null 2>/dev/full"])
def test_a_stream_closed_from_the_start_acts_like_the_null_device(cli: CommandLine, closed: str) -> None:
    assert shell(f"$E run {' '.join(SMALL)} --db {DB} {closed}").returncode == 0
    assert statuses(cli) == ["finished"]
    assert Path(DB).read_bytes()[8:12] == b"DUCK"  # nothing was written over it
    assert shell(f"$E sql 'from runs' --json --db {DB} {closed}").returncode == 0
    assert shell(f"$E runs --db none.duckdb {closed}").returncode == 2


@pytest.mark.slow
def test_a_sweep_with_a_closed_pipe_can_be_resumed(cli: CommandLine) -> None:
    arms = f"compare worker=io worker=cot --seeds 3 --db {DB} {' '.join(SMALL)}"
    done = shell(f"$E {arms} | grep -m1 -q ^1/6; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == terminal.CLOSED_PIPE
    assert "running" not in statuses(cli)
    assert "Traceback" not in done.stderr
    assert "repeat the command to resume" in done.stderr
    assert cli(*arms.split()).code == 0
    assert set(statuses(cli)) == {"finished"}


def test_file_contents_in_an_error_cannot_control_the_terminal(cli: CommandLine) -> None:
    said = cli("runs", "--db", "\x1b[2J\u202enone.duckdb")
    assert said.code == 2
    assert r"\x1b[2J\u202enone.duckdb does not exist" in said.err
