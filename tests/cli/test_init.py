"""`llm-economist init`: the file that it writes is accepted, as it is and with each of its comments made a setting."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from support.command_line import CommandLine

from evals.cli.options import read_toml
from evals.run.settings_file import settings_file
from pipeline.config import NAMES, RunConfig, build

NEEDS = {
    "shards": {"engine": "ray"},
    "ray_address": {"engine": "ray"},
    "layout": {},
}
"""What a setting cannot be without."""

COMMENTED = re.compile(r"^# (\w+ = .*)$", re.M)


def test_the_file_has_every_setting_once_with_its_help_and_sets_nothing_but_defaults() -> None:
    text = settings_file("study.toml")
    given = tomllib.loads(text)
    names = [line.partition(" =")[0] for line in COMMENTED.findall(text)]
    assert sorted([*given, *names]) == sorted(NAMES)
    assert build(given) == RunConfig()
    assert "scenario" in given
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("line", COMMENTED.findall(settings_file("study.toml")))
def test_every_comment_is_a_setting_that_is_accepted(line: str, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(line)
    (name,) = read_toml(str(file))
    build({**read_toml(str(file)), **NEEDS.get(name, {})})


@pytest.mark.slow
def test_run_compare_and_experiment_accept_what_it_wrote(cli: CommandLine) -> None:
    told = cli("init")
    assert told.code == 0
    assert "llm-economist run --config study.toml" in told.out
    small = ("--config", "study.toml", "--llm", "rules", "--num-agents", "2", "--max-timesteps", "2")
    assert cli("run", *small).code == 0
    assert cli("compare", "worker=io", "worker=cot", *small, "--seeds", "1-2").code == 0
    assert cli("experiment", "baselines", *small, "--seeds", "1", "--dry-run").code == 0
    settings = cli.sql("SELECT config->>'two_timescale' AS years FROM runs LIMIT 1", "economist.duckdb")
    assert settings == [{"years": str(RunConfig().two_timescale)}]


def test_a_file_that_exists_and_a_missing_folder_are_one_line(cli: CommandLine) -> None:
    Path("mine.toml").write_text("seed = 1\n")
    for path, why in {"mine.toml": "mine.toml exists; name a new file", "none/a.toml": "none/a.toml cannot be"}.items():
        result = cli("init", path)
        assert result.code == 2
        assert why in result.err
        assert len(result.err.strip().splitlines()) == 1
    assert Path("mine.toml").read_text() == "seed = 1\n"
