"""Whole economies as examples: a game (`pipeline.stackelberg.Stackelberg`) is judged by what its economies achieve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import dspy

from evals.datasets.exact_answers import game
from evals.datasets.simulated import Dataset, Sizes, check_sizes, dataset, economy_seeds
from evals.metrics.registry import EPISODE
from pipeline.agents.roles import MAIN_QUESTION
from pipeline.config import RunConfig
from pipeline.stackelberg import NOT_OF_THE_ECONOMY

MOST_YEARS, LONGEST_TAX_YEAR = 12, 4
"""Maximum years of an economy and of its tax years: longer ones cost more calls and add little."""


def economies(roles: Sequence[str], config: RunConfig, *, sizes: Sizes, seed: int) -> Dataset:
    """Economies under the settings of `config`, each with its own seed; inputs are `seed` and `settings`.

    Where `roles` are tuned, at most `MOST_YEARS` years with tax years of at most `LONGEST_TAX_YEAR`, and changed so
    that they are asked: for a voter democratic, with platforms; for a persona writer with personas; for a planner
    without elections. Without `roles`, exactly as `config` says.
    """
    check_sizes(sizes)
    settings, seeds = _settings(roles, config), economy_seeds(seed)
    return dataset(EPISODE, [[_economy(next(seeds), settings) for _ in range(size)] for size in sizes])


def _economy(seed: int, settings: Mapping[str, Any]) -> dspy.Example:
    return dspy.Example(seed=seed, settings=dict(settings), economy_seed=seed, truth={}).with_inputs("seed", "settings")


def _settings(roles: Sequence[str], config: RunConfig) -> dict[str, Any]:
    """The settings that differ from the defaults, as plain data."""
    for role in roles:
        config = game(MAIN_QUESTION[role], config)
    if roles:
        config = replace(
            config,
            max_timesteps=min(config.max_timesteps, MOST_YEARS),
            two_timescale=min(config.two_timescale, LONGEST_TAX_YEAR),
            warmup=min(config.warmup, LONGEST_TAX_YEAR),
        )
    default = RunConfig().public()
    told = {name: value for name, value in config.public().items() if value != default[name]}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
    return {name: value for name, value in plain.items() if name not in {*NOT_OF_THE_ECONOMY, "seed", "concurrency"}}
