"""Changes that should not affect a worker's hours: repetition, the unit of money, a name, the sex."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.validity.questionnaire import Ask, Panel
from evals.validity.scores import Finding, finding, hours_of, mean, none_as, said
from evals.validity.vignettes import SEED, THREE, Person, built_once, try_hours, village
from evals.validity.workers import Place, grid, places_of
from pipeline.economy.tax import FloatArray
from pipeline.simulation.loop import labor_inputs
from signatures.types import TaxSchedule

FAR = 10
"""Difference in hours between two answers to equivalent questions at which the score is zero."""

MONEY = 100
"""The factor on all amounts of money."""


def _closeness(gap: FloatArray) -> FloatArray:
    """1 for equal hours, 0 for a difference of `FAR` hours or a missing answer."""
    return none_as(0, np.maximum(0, 1 - np.abs(gap) / FAR))


def _compared(panel: Panel, first: Sequence[Ask], second: Sequence[Ask]) -> Finding:
    """Each question of the first list against its counterpart in the second. Value: their closeness."""
    replies = panel.ask([*first, *second])
    gap = hours_of(replies[len(first) :]) - hours_of(replies[: len(first)])
    words = f"{said(mean(np.abs(gap)), '.1f')} hours apart on average, signed mean {said(mean(gap), '+.1f')}"
    return finding(_closeness(gap), replies, words)


def _some(full: bool) -> list[Place]:
    """Places from the whole grid; a full card includes those of a small one."""
    return places_of(full)[::4]


def repetition(panel: Panel, full: bool) -> Finding:
    """The same question again: the noise level for the other pairs."""
    asks = [place.ask for place in _some(full)]
    return _compared(panel, asks, [Ask(ask.question, ask.inputs, sample=1) for ask in asks])


def currency(panel: Panel, full: bool) -> Finding:
    """The same worker with all amounts of money multiplied by `MONEY`, including those in the formula of utility."""
    places = _some(full)
    scaled = [grid(MONEY)[place.wage, place.rate].ask for place in places]
    return _compared(panel, [place.ask for place in places], scaled)


NAMES = (("Male", "Greg"), ("Male", "Jamal"), ("Female", "Emily"), ("Female", "Lakisha"))
"""Names common among White and among Black Americans: Bertrand and Mullainathan (2004, American Economic Review 94(4),
991-1013)."""

JOBS = (
    (11.5, "Cashiers", 24),
    (17.0, "Bus and truck mechanics", 38),
    (24.5, "Postal service workers", 57),
    (36.0, "Accountants and auditors", 33),
    (58.0, "Physician assistants", 45),
)
"""Wage, occupation and age of the workers with a name and a sex."""

LAW = TaxSchedule(thresholds=THREE, rates=(30, 40, 50))


@built_once
def _named(sex: str, name: str) -> list[Ask]:
    """The questions of all workers as a person of this sex and name."""
    world = village([Person(wage, job, sex, age) for wage, job, age in JOBS], LAW)
    year = try_hours(world, 0, seed=SEED)
    for agent in range(world.num_agents):
        world.personas[agent] = f"Your name is {name}. {world.personas[agent]}"
    return [Ask("ChooseLabor", labor_inputs(world, agent, year)) for agent in range(world.num_agents)]


def identity(panel: Panel, full: bool) -> Finding:
    """The same worker with another name or sex: four pairs per worker, two that differ in sex and two in name. Value:
    the mean closeness of the four."""
    who = slice(None) if full else slice(None, None, 3)
    replies = panel.ask(ask for one in NAMES for ask in _named(*one)[who])
    greg, jamal, emily, lakisha = hours_of(replies).reshape(len(NAMES), -1)
    sex, name = np.array([emily - greg, lakisha - jamal]), np.array([jamal - greg, lakisha - emily])
    words = (
        f"women minus men {said(mean(sex), '+.1f')} hours; "
        f"Jamal and Lakisha minus Greg and Emily {said(mean(name), '+.1f')}"
    )
    return finding(_closeness(np.concatenate([sex, name])).mean(axis=0), replies, words)
