"""The `cli` fixture: the program's own entry point, in this process, in a folder of its own."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evals.cli import main
from programs.lm import environment


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class CommandLine:
    """`cli("run", "--seed", "1")` runs `llm-economist run --seed 1` and returns its exit code and output."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *args: str) -> Result:
        self.monkeypatch.setattr(sys, "argv", ["llm-economist", *args])
        self.capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as exit:
            code = int(exit.code or 0)
        out, err = self.capsys.readouterr()
        return Result(code, out, err)

    def sql(self, query: str, db: str) -> list[dict[str, Any]]:
        """Rows of a query through the `sql` command."""
        result = self("sql", query, "--db", db, "--json")
        assert result.code == 0, result.err
        rows: list[dict[str, Any]] = json.loads(result.out)
        return rows

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def every_file(self) -> list[str]:
        """The text of every file below this folder, as far as it is text."""
        return [path.read_bytes().decode("latin-1") for path in Path().rglob("*") if path.is_file()]

    def forget_environment(self) -> None:
        environment.cache_clear()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)
