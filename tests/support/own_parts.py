"""A user's own parts for tests: a module in the current folder, and an installed package with entry points."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from programs import plugins
from support.command_line import CommandLine

SMALL = ("--llm", "rules", "--num-agents", "4", "--max-timesteps", "4", "--two-timescale", "2", "--seed", "3")
DB = ("--db", "a.duckdb")

MODULE = '''
import numpy as np

import dspy
from evals.experiments.declaration import Experiment
from pipeline.economy.baselines import free_market
from pipeline.simulation.elections.rules import plurality


def middle(u, z, w):
    """The median utility of all workers."""
    return np.median(u)


middle.unit = "dollars a year"


class Spread:
    """Minus the gap between the best-off and the worst-off worker."""

    words = "the utility of the worst-off worker minus that of the best-off"

    def __call__(self, u, z, w):
        return u.min(axis=-1) - u.max(axis=-1)


def mean(u, z, w):
    """The mean utility of all workers."""
    return u.mean(axis=-1)


mean.weights = lambda u, z, inverse_wage: np.ones(len(u))


def steep(setting):
    """Thirty percent in the first bracket, twenty more in each bracket above."""
    return [min(100, 30 + 20 * bracket) for bracket in range(len(setting.thresholds))]


def nothing(setting):
    """No tax: the built-in FREE_MARKET."""
    return free_market(setting)


class Creeping:
    """Ten percent more in every year."""

    def __call__(self, setting, year):
        return [min(100, 10 * year)] * len(setting.thresholds)


def first_named(poll, rng):
    """Of those named on a ballot, the one with the lowest number wins."""
    named = {ballot[0] for ballot in poll.ballots if ballot} & set(poll.candidates)
    return min(named, default=None)


def most(poll, rng):
    """Most votes win."""
    return plurality(poll, rng)


class Lot:
    words = "A lot decides, without a vote."
    form = None

    def __call__(self, poll, rng):
        return int(rng.choice(poll.candidates)) if poll.candidates else None


class FortyHours(dspy.Module):
    def __init__(self, signature):
        super().__init__()
        self.signature = signature

    async def aforward(self, **inputs):
        answers = {"labor": 40, "satisfied": True}
        return dspy.Prediction(**{name: answers[name] for name in self.signature.output_fields})


HALVES = Experiment(
    question="Does it matter whether half or none of the income is taxed?",
    arms={"half": {"rates": "50/50/50"}, "none": {"rates": "0/0/0"}},
)


class Told:
    """Writes the number and the welfare of each year to a file."""

    def __call__(self, year):
        with open("told.txt", "a") as file:
            file.write(f"{year.year} {year.welfare:.6f}\\n")


class Listening(dspy.utils.callback.BaseCallback):
    """Counts the calls of language models."""

    def on_lm_start(self, call_id, instance, inputs):
        with open("heard.txt", "a") as file:
            file.write("call\\n")
'''

ENTRY_POINTS = """
[llm_economist.welfare]
packaged_middle = {name}:middle

[llm_economist.election_rules]
packaged_rule = {name}:first_named

[llm_economist.baselines]
packaged_law = {name}:steep

[llm_economist.strategies]
packaged_strategy = {name}:FortyHours

[llm_economist.experiments]
packaged_experiment = {name}:HALVES

[llm_economist.callbacks]
packaged_callback = {name}:Told
"""


def forget(name: str) -> None:
    """As in a new process: the module `name` is not imported, and no part was taken."""
    sys.modules.pop(name, None)
    plugins._TAKEN.clear()
    importlib.invalidate_caches()


def write_module(name: str) -> None:
    """The module `name` in the current folder, with one part of each kind, or several."""
    Path(f"{name}.py").write_text(MODULE)


def install(name: str, folder: Path) -> None:
    """The package `name` with its entry points, as an installer leaves it in `folder`."""
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / f"{name}.py").write_text(MODULE)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS.format(name=name))


def played(cli: CommandLine, *flags: str, db: str = "a.duckdb") -> list[dict[str, Any]]:
    """The years of a new run, which is the only one in its file."""
    result = cli("run", *SMALL, *flags, "--db", db)
    assert result.code == 0, result.err
    return cli.sql("SELECT * EXCLUDE (run_id) FROM years ORDER BY year", db)
