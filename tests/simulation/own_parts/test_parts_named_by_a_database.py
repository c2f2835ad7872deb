"""A part that only a database names is not imported until the user allows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.command_line import CommandLine
from support.own_parts import DB, SMALL, forget

import llm_economist as le

STRANGE = {
    "welfare": {"welfare": "theirs:f"},
    "planner_type": {"planner_type": "theirs:f"},
    "election_rule": {"election_rule": "theirs:f"},
    "callback": {"callback": ["theirs:f"]},
}
AGAIN: dict[str, tuple[str, ...]] = {
    "resume": ("resume", "1"),
    "fork": ("fork", "1", "--at", "1"),
    "replay": ("replay", "1"),
    "interview": ("interview", "1", "Why?", "--agent", "1"),
    "eval": ("eval", "1"),
    "report": ("report", "1", "-o", "a.html"),
    "figure": ("figure", "lorenz", "1", "-o", "a.svg"),
}


def proposed(**settings: Any) -> None:
    """Write settings into the stored run, as its author could, and cut off its last years."""
    with duckdb.connect("a.duckdb") as connection:
        [(config,)] = connection.execute("SELECT config FROM runs").fetchall()
        connection.execute("UPDATE runs SET config = ?", [json.dumps({**json.loads(config), **settings})])
        connection.execute("UPDATE runs SET status = 'interrupted', finished_at = NULL")
        for table in ("years", "decisions", "lm_calls"):
            connection.execute(f"DELETE FROM {table} WHERE year > 1")


@pytest.fixture
def theirs() -> Iterator[None]:
    forget("theirs")
    Path("theirs.py").write_text(
        "open('imported', 'w').close()\n\n\ndef f(*inputs):\n    '''Words.'''\n    return 1.0\n"
    )
    yield
    forget("theirs")


@pytest.mark.first_cases(8)
@pytest.mark.parametrize("command", AGAIN)
@pytest.mark.parametrize("kind", STRANGE)
def test_no_part_that_only_a_database_names_is_imported(
    cli: CommandLine, theirs: None, kind: str, command: str
) -> None:
    assert cli("run", *SMALL, *DB).code == 0
    proposed(**STRANGE[kind])
    result = cli(*AGAIN[command], *DB)
    assert not Path("imported").exists()
    played_by = ("resume", "fork") if kind == "callback" else AGAIN
    if command in played_by:
        assert result.code == 2, result.err
        assert "--allow-code theirs:f" in result.err
        assert len(result.err.strip().splitlines()) == 1
    else:
        assert result.code == 0, result.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["eval", "replay", "report", "interview"])
def test_a_part_that_is_allowed_again_is_used(cli: CommandLine, command: str) -> None:
    assert cli("run", *SMALL, "--welfare", "mine:middle", "--planner-type", "mine:steep", *DB).code == 0
    forget("mine")
    allow = ("--allow-code", "mine:middle", "--allow-code", "mine:steep")
    assert cli(*AGAIN[command], *DB).code == 2
    result = cli(*AGAIN[command], *allow, *DB)
    assert result.code == 0, result.err


def test_an_installed_part_that_only_a_database_names_is_not_imported(
    cli: CommandLine, package: None, tmp_path: Path
) -> None:
    module = tmp_path / "site-packages" / "economist_parts.py"
    module.write_text("open('imported', 'w').close()\n" + module.read_text())
    assert cli("run", *SMALL, *DB).code == 0
    proposed(welfare="packaged_middle", strategy={"worker": "packaged_strategy"})
    for command in ("resume", "eval"):
        result = cli(*AGAIN[command], *DB)
        assert result.code == 2
        assert "--allow-code packaged_" in result.err
    assert not Path("imported").exists()
    allow = ("--allow-code", "packaged_middle", "--allow-code", "packaged_strategy")
    assert cli(*AGAIN["resume"], *allow, *DB).code == 0


@pytest.mark.slow
def test_python_imports_a_part_that_a_database_names_only_if_it_is_allowed(cli: CommandLine, theirs: None) -> None:
    assert cli("run", *SMALL, *DB).code == 0
    proposed(welfare="theirs:f")
    with pytest.raises(le.UsageError, match=r"allow_code=\['theirs:f'\]"):
        le.open("a.duckdb").run(1).oracle  # noqa: B018
    assert not Path("imported").exists()
    assert le.open("a.duckdb", allow_code=["theirs:f"]).run(1).oracle.welfare == 1.0
    assert Path("imported").exists()
