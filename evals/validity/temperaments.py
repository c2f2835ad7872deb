"""Do personas matter? The same worker, wage, record and law with opposite temperaments."""

from __future__ import annotations

import numpy as np

from evals.compare.statistics import interval
from evals.validity.invariance import FAR, JOBS, LAW
from evals.validity.questionnaire import Ask, Panel
from evals.validity.scores import Finding, finding, hours_of, mean, none_as, said
from evals.validity.vignettes import SEED, Person, built_once, try_hours, village
from pipeline.economy.tax import FloatArray
from pipeline.simulation.loop import labor_inputs

TEMPERAMENTS = (
    ("You value your free time.", "You do not mind long weeks."),
    ("You are content with what you have.", "You want to get ahead."),
    ("You tire easily and need your rest.", "You are full of energy and like to be busy."),
    ("Your family and friends come first.", "Your work comes first."),
)
"""Pairs of opposite temperaments: the first should work fewer hours than the second."""

SAMPLES = 2
"""How often each question is asked: the variance of repetitions is the noise that personas have to exceed."""


@built_once
def worker_inputs(temperament: str) -> list[dict[str, str]]:
    """The inputs of all workers of `JOBS` with this temperament after their plain persona."""
    world = village([Person(wage, job, "Female", age) for wage, job, age in JOBS], LAW)
    year = try_hours(world, 0, seed=SEED)
    for agent in range(world.num_agents):
        world.personas[agent] = f"{world.personas[agent]} {temperament}"
    return [labor_inputs(world, agent, year) for agent in range(world.num_agents)]


def asks(full: bool) -> list[Ask]:
    """The questions by pair, pole, worker and sample: three workers, or the first of them."""
    workers = range(0, len(JOBS), 2 if full else len(JOBS))
    return [
        Ask("ChooseLabor", worker_inputs(temperament)[worker], sample=sample)
        for pair in TEMPERAMENTS
        for temperament in pair
        for worker in workers
        for sample in range(SAMPLES)
    ]


def persona(panel: Panel, full: bool) -> Finding:
    """How many hours opposite temperaments lie apart, per pair and worker. Value: the difference in the expected
    direction / `FAR` hours, at most 1; negative in the other direction, 0 without an answer."""
    replies = panel.ask(asks(full))
    hours = hours_of(replies).reshape(len(TEMPERAMENTS), 2, -1, SAMPLES)
    means = np.array([mean(cell) for cell in hours.reshape(-1, SAMPLES)]).reshape(hours.shape[:3])
    apart = means[:, 1] - means[:, 0]
    gap = interval(none_as(0, apart).ravel())
    by_pair = ", ".join(said(mean(row), "+.1f") for row in apart)
    words = (
        f"{said(gap.mean, '+.1f')} hours [{said(gap.low, '.1f')}, {said(gap.high, '.1f')}] between the poles, by pair "
        f"{by_pair}; {_variances(hours, means)}"
    )
    return finding(none_as(0, np.minimum(1, apart / FAR)).ravel(), replies, words)


def _variances(hours: FloatArray, means: FloatArray) -> str:
    """The variance between personas of one worker against that of repetitions, in words.

    `hours` (pairs, poles, workers, samples), `means` (pairs, poles, workers). The noise of repetitions is taken out of
    the variance of the means; the ratio is then 0 for personas without effect.
    """
    noise = mean(_variance(hours.reshape(-1, SAMPLES), axis=1))
    between = mean(_variance(means.reshape(-1, means.shape[2]), axis=0)) - noise / SAMPLES
    told = f"variance between personas {said(max(0.0, between), '.1f')}, of repetitions {said(noise, '.1f')}"
    return f"{told} (ratio {max(0.0, between) / noise:.1f})" if noise > 0 else told


def _variance(values: FloatArray, axis: int) -> FloatArray:
    """The unbiased variance along `axis`; nan where a value is missing."""
    return np.asarray(np.var(values, axis=axis, ddof=1))
