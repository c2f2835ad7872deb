"""Checks of workers' hours. The exact answer is the closed form in `pipeline/economy/utility.py`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from evals.compare.statistics import Interval, interval
from evals.metrics.labor import Work, best_hours, missed
from evals.validity.questionnaire import Ask, Panel
from evals.validity.scores import Finding, finding, found, hours_of, mean, none_as, said, shared
from evals.validity.vignettes import SEED, TAX_YEAR, built_once, crowd, linear, live, try_hours
from pipeline.economy.utility import ECONOMIES, effective_share
from pipeline.simulation.loop import labor_inputs

WAGES = (9.0, 14.0, 22.0, 34.0, 52.0, 80.0)
RATES = (0.0, 20.0, 40.0, 60.0, 80.0)
"""The grid: wages in dollars an hour, and rates in percent on every dollar."""

SHOCKED_WAGES = (10.0, 13.0, 19.0, 27.0, 38.0, 55.0)
RATE_BEFORE, RATES_AFTER = 40.0, (10.0, 60.0, 75.0)
"""Tax shocks, in percent."""

USUAL = 40
"""Hours of a worker who ignores wage and rate."""

EVERY = 5
"""Round numbers of hours are multiples of this."""


class Place(NamedTuple):
    """A worker's question, and the best whole hours for its wage and rate."""

    wage: float
    rate: float
    ask: Ask
    best: int


def _axes(full: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (WAGES, RATES) if full else (WAGES[::2], RATES[::2])


@built_once
def grid(money: float = 1) -> dict[tuple[float, float], Place]:
    """Questions by wage and rate. Workers of all wages live in one economy and share its rebate.

    `money`: the factor on all amounts of money; places keep the wage before that.
    """
    places = {}
    for rate in RATES:
        world = crowd(WAGES, money=money)
        world.schedule = linear(rate)
        year = try_hours(world, 0, seed=SEED)
        for agent, wage in enumerate(WAGES):
            ask = Ask("ChooseLabor", labor_inputs(world, agent, year))
            places[wage, rate] = Place(wage, rate, ask, best_hours(_work(wage, rate, WAGES)))
    return places


def _work(wage: float, rate: float, people: Sequence[float]) -> Work:
    """The choice of a worker at `wage` dollars an hour under a rate in percent, one of the `people` who share
    revenue."""
    return Work(wage, linear(rate), taxpayers=len(people))


def places_of(full: bool) -> list[Place]:
    """The grid, or every other wage and rate of it."""
    return [grid()[place] for place in product(*_axes(full))]


def closed_form(panel: Panel, full: bool) -> Finding:
    """Hours against the best whole hours. Value: 1 - error / mean error of 40 hours; 0 without an answer."""
    places = places_of(full)
    replies = panel.ask(place.ask for place in places)
    best, hours = np.array([place.best for place in places]), hours_of(replies)
    usual = float(np.abs(USUAL - best).mean())
    errors = np.abs(hours - best)
    lost = [
        1 - missed(_work(place.wage, place.rate, WAGES), int(worked)).score
        for place, worked in zip(places, hours, strict=True)
        if not np.isnan(worked)
    ]
    words = (
        f"{said(mean(errors), '.1f')} hours off on average, against {usual:.1f} for always 40 hours; "
        f"{said(mean(lost), '.1%')} of the value of working lost"
    )
    return finding(none_as(0, 1 - errors / usual), replies, words)


def monotonicity(panel: Panel, full: bool) -> Finding:
    """Neighbours on the grid: hours do not rise with the rate or fall with the wage. Missing answers count as
    reversed."""
    wages, rates = _axes(full)
    replies = panel.ask(place.ask for place in places_of(full))
    hours = hours_of(replies).reshape(len(wages), len(rates))
    by_rate, by_wage = (hours[:, 1:] <= hours[:, :-1]).ravel(), (hours[1:] >= hours[:-1]).ravel()
    words = (
        f"not rising with the rate in {by_rate.sum()} of {len(by_rate)} pairs, "
        f"not falling with the wage in {by_wage.sum()} of {len(by_wage)}"
    )
    return shared([*by_rate, *by_wage], replies, words)


# -- tax shocks ----------------------------------------------------------------------------------------------------


@built_once
def _shocked(rate: float) -> list[Place]:
    """Workers after the rate changed from `RATE_BEFORE` to `rate`, or before that, who have tried hours since."""
    world = crowd(SHOCKED_WAGES)
    world.schedule = linear(RATE_BEFORE)
    year = try_hours(world, 0, seed=SEED)
    if rate != RATE_BEFORE:
        live(world, year, world.hours)
        world.schedule = linear(rate)
        year = try_hours(world, TAX_YEAR, seed=SEED)
    return [
        Place(
            wage,
            rate,
            Ask("ChooseLabor", labor_inputs(world, agent, year)),
            best_hours(_work(wage, rate, SHOCKED_WAGES)),
        )
        for agent, wage in enumerate(SHOCKED_WAGES)
    ]


def _shocks(full: bool) -> list[list[Place]]:
    """The same workers before, and after each shock."""
    who = slice(None) if full else slice(None, None, 3)
    return [_shocked(rate)[who] for rate in (RATE_BEFORE, *(RATES_AFTER if full else RATES_AFTER[::2]))]


def elasticity(panel: Panel, full: bool) -> Finding:
    """Log change of hours over log change of the net-of-tax share (including one's own share of one's tax), averaged
    over shocks by worker; the score is 1 - |e - 0.4| / 0.4 of their mean e. Without an answer hours stay. Hours below 1
    count as 1."""
    rows = _shocks(full)
    replies = panel.ask(place.ask for places in rows for place in places)
    hours = np.maximum(1, hours_of(replies)).reshape(len(rows), -1)
    share = effective_share(len(SHOCKED_WAGES))
    kept = np.array([[100 - share * places[0].rate] for places in rows])
    slopes = np.log(hours[1:] / hours[0]) / np.log(kept[1:] / kept[0])
    implied = interval(none_as(0, slopes).mean(axis=0))
    words = f"elasticity {implied.mean:.2f} [{implied.low:.2f}, {implied.high:.2f}]"
    return found(_nearness(implied, ECONOMIES["weekly"].elasticity), replies, words)


def _nearness(given: Interval, true: float) -> Interval:
    """1 - |e - true| / true, at least 0: for the mean, and its minimum and maximum over the interval."""
    mean, low, high = (max(0.0, 1 - abs(value - true) / true) for value in (given.mean, given.low, given.high))
    most = 1.0 if given.low <= true <= given.high else max(low, high)
    return Interval(mean, min(low, high), most)


def round_numbers(panel: Panel, full: bool) -> Finding:
    """Answers at multiples of 5 hours in excess of the share of best answers there. Value: 0 for such or missing
    answers, otherwise scaled so that the mean over the best answers is 1."""
    places = [*places_of(full), *(place for places in _shocks(full) for place in places)]
    replies = panel.ask(place.ask for place in places)
    expected = float(np.mean([place.best % EVERY == 0 for place in places]))
    hours = hours_of(replies)
    there = hours[~np.isnan(hours)]
    words = (
        f"{said(mean(there % EVERY == 0), '.0%')} of answers at multiples of 5, against {expected:.0%} of the best "
        f"answers; {len(np.unique(there))} different answers"
    )
    off = none_as(0, hours % EVERY) > 0
    return finding(off / (1 - expected), replies, words)
