"""The help of `run` in panels, and what a shell completes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from support.command_line import CommandLine

from evals.cli import completions
from evals.run.setting_panels import MOST_USED, PANELS, panel_of, place_of
from pipeline import config
from pipeline.config import NAMES
from pipeline.economy.laws.named_laws import NAMES as LAWS

PROGRAM = "llm-economist"


def sections(help: str) -> dict[str, list[str]]:
    """The long flags of each section of a help, in order."""
    found: dict[str, list[str]] = {}
    for line in help.splitlines():
        if title := re.fullmatch(r"(\S.*):", line):
            found[title[1]] = []
        elif flag := re.match(r"  (?:-\w, )?(--[\w-]+)", line):
            found[list(found)[-1]].append(flag[1])
    return found


def test_the_help_of_run_has_the_ten_most_used_flags_first_and_every_other_one_in_a_panel(cli: CommandLine) -> None:
    found = sections(cli("run", "--help").out)
    assert list(found) == [*PANELS, "Options"]
    assert len(found[MOST_USED]) == 10
    assert {"--scenario", "--num-agents", "--llm", "--config"} <= set(found[MOST_USED])
    assert found["Options"] == ["--help"]
    listed = [flag for flags in found.values() for flag in flags]
    assert len(listed) == len(set(listed))
    assert {f"--{name.replace('_', '-')}" for name in NAMES} <= set(listed)


def test_a_panel_names_only_settings_that_exist_and_each_once() -> None:
    named = [name for names in PANELS.values() for name in names]
    assert len(named) == len(set(named))
    assert set(named) <= NAMES
    assert sorted(NAMES, key=place_of) != sorted(NAMES)
    assert panel_of("wage_of_a_setting_to_come") == "What is played"


def test_other_commands_show_their_own_flags_before_the_panels(cli: CommandLine) -> None:
    found = list(sections(cli("compare", "--help").out))
    assert found[:3] == ["Arguments", "Options", MOST_USED]


def asked_by(shell: str, line: str) -> tuple[int, list[str], str]:
    """Exit code, what is offered, and errors, when Tab is pressed at the end of a line: as the shell's script does."""
    words = line.split(" ")
    given = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    done = subprocess.run(
        [str(Path(sys.executable).with_name(PROGRAM))],
        env={**os.environ, **given, "_LLM_ECONOMIST_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    offered = re.findall(r'(?:^|\(\()"([^"]+)"', done.stdout, re.M) if shell == "zsh" else done.stdout.splitlines()
    return done.returncode, [one.split("\t")[0].split(":")[0] for one in offered], done.stderr


VALUES = {
    "run --scenario ": get_args(config.Scenario),
    "run --prompt-algo ": completions.STRATEGIES,
    "run --planner-type ": get_args(config.PlannerType),
    "run --bracket-setting ": ("flat", "three", "US_FED"),
    "run --welfare ": get_args(config.Welfare),
    "run --law us-2026-joint-eitc": [law for law in LAWS if law.startswith("us-2026-joint-eitc")],
    "run --seed 1 --seed 2 --scenario b": ["bounded"],
    "expl": ["explore"],
    "run --max-": ["--max-timesteps", "--max-output-tokens", "--max-cost-usd", "--max-tokens"],
    "sql worst_c": ["worst_calls"],
    "experiment base": ["baselines"],
    "figure lor": ["lorenz"],
}


@pytest.mark.first_cases(4)
@pytest.mark.parametrize("line", VALUES)
def test_bash_completes_commands_flags_and_values(line: str) -> None:
    code, offered, err = asked_by("bash", f"{PROGRAM} {line}")
    assert err == ""
    assert code == 0
    assert sorted(offered) == sorted(VALUES[line])


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(shell: str) -> None:
    for line in ("run --scenario ", "run --max-", "expl"):
        _, offered, err = asked_by(shell, f"{PROGRAM} {line}")
        assert err == ""
        assert sorted(offered) == sorted(VALUES[line])


@pytest.mark.slow
def test_bash_itself_completes_after_the_printed_script() -> None:
    """The script that typer prints for bash, run by bash, with the variables that bash sets at a Tab."""
    binaries = Path(sys.executable).parent
    script = subprocess.run(
        [str(binaries / PROGRAM)],
        env={**os.environ, "_LLM_ECONOMIST_COMPLETE": "source_bash"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (function,) = set(re.findall(r"complete -o default -F (\w+) llm-economist", script))
    tab = f"COMP_WORDS=({PROGRAM} run --scenario de); COMP_CWORD=3; {function} {PROGRAM}; echo ${{COMPREPLY[@]}}"
    path = f"{binaries}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{tab}"], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["democratic"]


def test_the_names_that_a_shell_is_offered_are_those_that_exist() -> None:
    from evals.experiments.declaration import catalog
    from evals.figures.catalog import FIGURES
    from programs.strategies.registry import STRATEGIES

    assert tuple(STRATEGIES) == completions.STRATEGIES
    assert tuple(FIGURES) == completions.FIGURES
    assert set(completions.experiments("")) == {*catalog(), "all", "paper"}
