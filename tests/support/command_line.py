"""The `cli` fixture: the program's own entry point, in this process, in a folder of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evals.cli.main import main
from programs.models import environment

SEVERAL = ("--shock", "--detect", "--param", "--callback", "--allow-code")
"""Flags that may be given several times."""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


class CommandLine:
    """`cli("run", "--seed", "1")` runs `llm-economist run --seed 1` and returns its exit code and output.

    Of a flag that tests give twice, as in `cli(*SMALL, "--seed", "9")`, the last counts; `exactly` leaves both.
    """

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *args: str) -> Result:
        return self.exactly(*last_of_each(args))

    def exactly(self, *args: str) -> Result:
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


def last_of_each(args: Sequence[str]) -> list[str]:
    """`args` without flags, and their values, that come again later."""
    groups: list[list[str]] = [[]]
    for arg in args:
        if arg.startswith("--"):
            groups.append([])
        groups[-1].append(arg)
    flags = [group[0] if group else "" for group in groups]
    kept = [g for i, g in enumerate(groups) if flags[i] in SEVERAL or not i or flags[i] not in flags[i + 1 :]]
    return [arg for group in kept for arg in group]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)
