"""Commands that the program prints run as they are, in a folder whose name has a blank and quotes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine

from evals.testing.openai_server import Loopback, failure
from pipeline.printed_commands import PROGRAM, command, quoted

FOLDER = """Ada's "tax" runs $5"""
SMALL = ("--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2", "--llm", "rules")
PRINTED = re.compile(rf"{PROGRAM} [^`\n]*")


@pytest.fixture
def db() -> str:
    Path(FOLDER).mkdir()
    return f"{FOLDER}/my runs.duckdb"


def run_all(text: str) -> list[str]:
    """Run all commands in `text` in a shell, and return them."""
    found = [line.group().rstrip(" .;") for line in PRINTED.finditer(text)]
    for line in found:
        here = line.replace(PROGRAM, f"{sys.executable} -m evals", 1)
        done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
    return found


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_a_shell_reads_every_word_as_it_was(words: list[str]) -> None:
    line = " ".join(map(quoted, words))
    assert "\n" not in line
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words


def test_a_path_that_is_not_valid_text_is_unchanged() -> None:
    name = os.fsdecode(b"a\xe9.duckdb")
    done = subprocess.run(["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, check=True)
    assert done.stdout == b"a\xe9.duckdb"


@pytest.mark.slow
def test_printed_commands_of_a_run_work(cli: CommandLine, db: str) -> None:
    ended = cli("run", *SMALL, "--db", db)
    assert len(run_all(ended.out)) == 1
    stopped = cli("run", *SMALL, "--db", db, "--max-tokens", "3000", "--seed", "2")
    assert "stopped" in stopped.out
    resumed = re.search(rf"resume with: ({PROGRAM} resume .*)", stopped.out)
    assert resumed is not None
    assert run_all(resumed[1] + " --max-tokens 1000000")
    [(call,)] = [tuple(row.values()) for row in cli.sql("select min(call_id) as n from lm_calls", db)]
    asked = cli("interview", "1", "--planner", "Why?", "--db", db)
    assert asked.code == 0, asked.err
    assert run_all(asked.out)
    assert call is not None
    assert run_all(cli("show", "12", "--db", db).err)


@pytest.mark.slow
def test_printed_commands_of_a_failed_run_work(cli: CommandLine, db: str) -> None:
    with Loopback(fault=lambda number, body: failure(503, "out of order", retry_after=0) if number else None) as server:
        given = (*SMALL[:-1], "gpt-4o-mini", "--base-url", server.url)
        ended = cli("run", *given, "--db", db)
        assert ended.code == 1
        assert f"{command('resume', 1, '--db', db, '--base-url', server.url)}\n" in ended.err
        server.fault = lambda number, body: None
        assert len(run_all(ended.err)) == 1


@pytest.mark.slow
def test_printed_commands_of_studies_and_shards_work(cli: CommandLine, db: str) -> None:
    compared = cli("compare", "worker=io", "worker=cot", "--seeds", "2", *SMALL, "--db", db)
    assert run_all(compared.out), compared.err
    cut = f"{FOLDER}/my runs.shard-7.duckdb"
    shutil.copy(db, cut)
    cli_stop = cli("run", *SMALL, "--db", cut, "--max-tokens", "3000", "--seed", "3")
    assert "stopped" in cli_stop.out
    watched = cli("watch", "--once", "--db", db)
    assert PROGRAM in watched.out
    assert f"--db {quoted(cut)}" in watched.out


@pytest.mark.slow
def test_printed_commands_of_a_tuned_program_work(cli: CommandLine, db: str) -> None:
    sizes = ("--budget", "60", "--sizes", "4,4,4", "--llm", "rules")
    to = f"{FOLDER}/my program.json"
    tuned = cli("optimize", "worker", "--optimizer", "labeled", *sizes, "--db", db, "-o", to)
    assert tuned.code == 0, tuned.err
    commands = PRINTED.findall(tuned.out)
    assert len(commands) == 2
    small = f" --num-agents 2 --max-timesteps 1 --db {quoted(db)}"
    assert run_all("\n".join(one + (small if one.startswith(f"{PROGRAM} run ") else "") for one in commands))


def test_every_printed_command_is_built_by_the_command_function() -> None:
    """A command with a value in it is made by `command`."""
    root = Path(__file__).parents[2]
    glued = re.compile(r"llm-economist [a-z]+[^`\n]*\{")
    for folder in ("evals", "pipeline", "programs"):
        for file in (root / folder).rglob("*.py"):
            assert not glued.search(file.read_text(encoding="utf-8")), file
