"""A part that cannot be used is refused in one line, and a callback that fails does not spoil its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.own_parts import DB, SMALL, forget, played

BROKEN = '''
import numpy as np

NUMBER = 3
LONG = "very " * 100


def welfare_words(function):
    function.words = "something"
    return function


@welfare_words
def undefined(u, z, w):
    return np.nan


@welfare_words
def shaped(u, z, w):
    return u


@welfare_words
def text(u, z, w):
    return "much"


@welfare_words
def raising(u, z, w):
    return 1 / 0


@welfare_words
def later(u, z, w):
    return np.nan if len(u) == 4 and u.max() != 27 else 1.0


@welfare_words
def two(u, z):
    return 1.0


def wordless(u, z, w):
    return np.mean(u)


def wordy(u, z, w):
    return np.mean(u)


wordy.words = LONG


@welfare_words
def unweighted(u, z, w):
    return np.mean(u)


class Needy:
    def __init__(self, needed):
        pass


def short(setting):
    return [30]


def high(setting):
    return [30, 40, 101]


def none(setting):
    return None


def failing(setting):
    raise RuntimeError("no law today")


def arguments(setting, other):
    return [30, 40, 50]


def stranger(poll, rng):
    """A stranger wins."""
    return 99


def formless(poll, rng):
    """One wins."""
    return None


formless.form = "letter"


def shouting(year):
    if year.year == 1:
        raise RuntimeError("enough")


class Deaf:
    def __call__(self):
        pass


import dspy


class Failing(dspy.utils.callback.BaseCallback):
    def on_lm_start(self, call_id, instance, inputs):
        raise RuntimeError("deaf")


import evals.experiments.declaration as d

EMPTY = d.Experiment(question="Nothing?", arms={})
ODD = d.Experiment(question="Odd?", arms={"a": 3})
UNKNOWN = d.Experiment(question="Unknown?", arms={"a": {"colour": "red"}})
'''

DEMOCRATIC = ("--scenario", "democratic", "--platforms", "--election-rule")
BAD = {
    "no module": (("--welfare", "nowhere:f"), ["--welfare nowhere:f cannot be loaded", "No module named"]),
    "no name": (("--welfare", "broken:nothing"), ["--welfare broken:nothing cannot be loaded", "nothing"]),
    "no module of a law": (("--planner-type", "nowhere:f"), ["--planner-type nowhere:f", "No module named"]),
    "no module of a rule": ((*DEMOCRATIC, "nowhere:f"), ["--election-rule nowhere:f", "No module named"]),
    "no module of a callback": (("--callback", "nowhere:f"), ["--callback nowhere:f", "No module named"]),
    "no module of a strategy": (("--strategy", "worker=nowhere:f"), ["--strategy nowhere:f", "No module named"]),
    "not callable": (("--welfare", "broken:NUMBER"), ["--welfare broken:NUMBER is of type int", "function"]),
    "not callable law": (("--planner-type", "broken:NUMBER"), ["--planner-type broken:NUMBER is of type int"]),
    "not callable rule": ((*DEMOCRATIC, "broken:NUMBER"), ["--election-rule broken:NUMBER is of type int"]),
    "not callable callback": (("--callback", "broken:NUMBER"), ["--callback broken:NUMBER is of type int"]),
    "class with arguments": (("--welfare", "broken:Needy"), ["--welfare broken:Needy failed", "needed"]),
    "NaN": (("--welfare", "broken:undefined"), ["--welfare broken:undefined returned nan", "finite number"]),
    "an array": (("--welfare", "broken:shaped"), ["--welfare broken:shaped returned an array of shape (4,)"]),
    "a text": (("--welfare", "broken:text"), ["--welfare broken:text returned 'much'", "number"]),
    "an error": (("--welfare", "broken:raising"), ["--welfare broken:raising failed", "ZeroDivisionError"]),
    "an error later": (("--welfare", "broken:later"), ["--welfare broken:later returned nan"]),
    "two arguments": (("--welfare", "broken:two"), ["--welfare broken:two cannot be called", "f(u, z, w)"]),
    "no words": (("--welfare", "broken:wordless"), ["--welfare broken:wordless has no words", "`words`"]),
    "many words": (("--welfare", "broken:wordy"), ["--welfare broken:wordy: its words have 499 characters", "300"]),
    "no weights": (
        ("--welfare", "broken:unweighted", "--planner-type", "SAEZ"),
        ["--planner-type SAEZ does not fit --welfare broken:unweighted", "`weights`", "ORACLE"],
    ),
    "too few rates": (("--planner-type", "broken:short"), ["--planner-type broken:short returned [30]", "3 rates"]),
    "a rate above 100": (("--planner-type", "broken:high"), ["broken:high returned the rates 30/40/101", "0 to 100"]),
    "no rates": (("--planner-type", "broken:none"), ["--planner-type broken:none returned None", "3 rates"]),
    "a law that fails": (("--planner-type", "broken:failing"), ["broken:failing failed", "no law today"]),
    "a law of two": (("--planner-type", "broken:arguments"), ["broken:arguments cannot", "law(setting, year)"]),
    "no candidate": ((*DEMOCRATIC, "broken:stranger"), ["--election-rule broken:stranger elected 99", "candidates"]),
    "no form": ((*DEMOCRATIC, "broken:formless"), ["broken:formless: form 'letter'", "name, set, ranking"]),
    "callback that fails": (("--callback", "broken:shouting"), ["--callback broken:shouting failed", "enough"]),
    "callback without a year": (("--callback", "broken:Deaf"), ["--callback broken:Deaf cannot", "callback(year)"]),
    "dspy callback that fails": (("--callback", "broken:Failing"), ["--callback broken:Failing failed", "deaf"]),
}


@pytest.fixture
def broken() -> Iterator[None]:
    forget("broken")
    Path("broken.py").write_text(BROKEN)
    yield
    forget("broken")


@pytest.mark.first_cases(24)
@pytest.mark.parametrize(("flags", "said"), BAD.values(), ids=BAD)
def test_a_part_that_cannot_be_used_is_one_line(
    cli: CommandLine, broken: None, flags: tuple[str, ...], said: list[str]
) -> None:
    result = cli("run", *SMALL, *flags, *DB)
    assert result.code == 2, result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert result.err.strip().endswith(line)
    for words in said:
        assert words in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken:EMPTY", "has no arms"),
        ("broken:ODD", "arm 'a' is 3"),
        ("broken:UNKNOWN", "unknown setting 'colour'"),
        ("broken:NUMBER", "is of type int"),
        ("broken:nothing", "cannot be loaded"),
        ("nowhere:X", "No module named"),
        ("rationale", "did you mean rational?"),
    ],
)
def test_an_experiment_that_cannot_be_used_is_one_line(cli: CommandLine, broken: None, name: str, said: str) -> None:
    result = cli("experiment", name, *SMALL[:-2], *DB)
    assert result.code == 2, result.err
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_run_whose_callback_fails_is_marked_and_can_be_resumed(cli: CommandLine, broken: None) -> None:
    assert cli("run", *SMALL, "--callback", "broken:shouting", *DB).code == 2
    (run,) = cli.sql("SELECT status FROM runs", "a.duckdb")
    assert run["status"] == "failed"
    refused = cli("resume", "1", *DB)
    assert refused.code == 2
    assert "--allow-code broken:shouting" in refused.err
    resumed = cli("resume", "1", "--allow-code", "broken:shouting", *DB)
    assert resumed.code == 0, resumed.err
    assert cli.sql("SELECT year, welfare FROM years", "a.duckdb") == [
        {"year": row["year"], "welfare": row["welfare"]} for row in played(cli, db="b.duckdb")
    ]
