"""The figures of a run, by which the runs of a comparison or an experiment are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.config import RunConfig
from pipeline.economy.baselines import Setting, objective, start_and_oracle
from pipeline.economy.effort import with_own
from pipeline.economy.laws.dollars import economy_in
from pipeline.economy.planner_share import planner_share
from pipeline.economy.welfare import own_function, welfare_function
from pipeline.store.columns import Reader
from signatures.types import TaxSchedule

Figures = dict[str, float | None]
"""A run's figures by measure; None for figures that it does not have."""


@dataclass(frozen=True)
class Measure:
    """A figure of a run. `outcome`: it measures how well a run went, not what it cost, and is tested.

    `compared`: it has the same unit in every arm, so that differences between arms make sense. `head`: its column in
    the table of costs.
    """

    name: str
    help: str
    outcome: bool = False
    decimals: int = 4
    percent: bool = False
    head: str = ""
    compared: bool = True


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("welfare", "objective as played, mean over all years", outcome=True),
        Measure("welfare_last_tax_year", "the same over the last tax year", outcome=True),
        Measure("welfare_best_response", "the last schedule if every worker best-responded", outcome=True),
        Measure(
            "planner_share",
            "share of ORACLE's gain over 50 % that the last schedule reaches",
            outcome=True,
            percent=True,
        ),
        Measure("regret", "dollars a year per decision", outcome=True, decimals=0),
        Measure("regret_share", "total regret over total best utility", outcome=True, percent=True),
        Measure("hours", "hours a week", outcome=True, decimals=2),
        Measure("tokens", "tokens of prompts and replies", decimals=0, head="tokens"),
        Measure("cost_usd", "dollars; missing if a price is unknown", head="dollars"),
        Measure("calls", "attempts at model calls", decimals=0, head="calls"),
        Measure("calls_per_decision", "attempts per question", decimals=2, head="calls per question"),
        Measure("parse_failure_rate", "attempts whose reply could not be parsed", percent=True, head="unparsed"),
        Measure(
            "fallback_rate", "unusable answers, for the kind of question with the most", percent=True, head="fell back"
        ),
    )
}
"""In the order in which they are shown. Costs leave out preflights and personas, which are written once for all runs
with the same people."""

BY_OBJECTIVE = ("welfare", "welfare_last_tax_year", "welfare_best_response", "planner_share")
"""The outcomes that depend on the welfare function by which a run is judged."""

OWN = "own_"
"""Prefix of such an outcome's name if each arm is judged by its own objective."""

OWN_SHARE = f"{OWN}planner_share"


def measures_for(objectives: Iterable[str]) -> dict[str, Measure]:
    """The measures for runs with these objectives; if they differ, also outcomes by each arm's own objective.

    Shares of a gain are comparable between objectives, levels of welfare are not.
    """
    if len(set(objectives)) < 2:
        return dict(MEASURES)
    both: dict[str, Measure] = {}
    for name, one in MEASURES.items():
        both[name] = one
        if name in BY_OBJECTIVE:
            words = f"{one.help}, by the arm's own objective"
            both[f"{OWN}{name}"] = replace(one, name=f"{OWN}{name}", help=words, compared=one.percent)
    return both


# Ordered list sums: other sums differ in their last bits, depending on how a file was written.
YEARS = """
SELECT y.run_id, arg_max(y.thresholds, y.year) AS thresholds, arg_max(y.rates, y.year) AS rates,
       list_avg(list(y.{column} ORDER BY y.year)) AS welfare,
       list_avg(list(y.{column} ORDER BY y.year) FILTER (y.year >= (r.max_timesteps - 1) // tax_year * tax_year))
           AS welfare_last_tax_year,
       avg(y.planner_fallback::INTEGER) AS fallback_rates
FROM years y JOIN runs r USING (run_id), LATERAL (SELECT (r.config ->> 'two_timescale')::INTEGER AS tax_year)
WHERE y.run_id IN (SELECT unnest(?::INTEGER[])) GROUP BY y.run_id
"""

DECISIONS = """
SELECT d.run_id, list_avg(list(d.regret ORDER BY d.year, d.agent)) AS regret,
       list_sum(list(d.regret ORDER BY d.year, d.agent))
           / nullif(list_sum(list(d.best_utility ORDER BY d.year, d.agent)), 0) AS regret_share,
       list_avg(list(d.labor ORDER BY d.year, d.agent)) AS hours,
       avg(d.fallback::INTEGER) FILTER (a.asked) AS fallback_hours, count(d.satisfied) AS verdicts
FROM decisions d JOIN agents a ON a.run_id = d.run_id AND a.agent = d.agent
WHERE d.run_id IN (SELECT unnest(?::INTEGER[])) GROUP BY d.run_id
"""

VOTES = """
SELECT v.run_id, avg(v.fallback::INTEGER) FILTER (a.asked) AS fallback_votes
FROM votes v JOIN agents a ON a.run_id = v.run_id AND a.agent = v.voter
WHERE v.run_id IN (SELECT unnest(?::INTEGER[])) GROUP BY v.run_id
"""

CALLS = """
SELECT run_id, sum(coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0))::BIGINT AS tokens,
       CASE WHEN count_if(cost_usd IS NULL AND response IS NOT NULL) = 0
            THEN coalesce(list_sum(list(cost_usd ORDER BY year, signature, agent, attempt)), 0) END AS cost_usd,
       count(*) AS calls, count(*) / count(DISTINCT (year, signature, agent)) AS calls_per_decision,
       avg((status = 'parse_error')::INTEGER) AS parse_failure_rate,
       count(DISTINCT (year, agent)) FILTER (signature = 'JudgeTaxPolicy') AS asked_verdicts
FROM lm_calls
WHERE run_id IN (SELECT unnest(?::INTEGER[])) AND signature NOT IN ('Preflight', 'WritePersona') GROUP BY run_id
"""

FALLBACKS = ("fallback_hours", "fallback_rates", "fallback_votes", "fallback_verdicts")


def outcomes(reader: Reader, runs: Mapping[int, RunConfig], *, welfare: str) -> dict[int, Figures]:
    """The figures of finished runs (number -> settings), by the names in `MEASURES`, under one `welfare` function."""
    own = own_function(welfare) is not None  # stored only where it was the objective
    column = "welfare" if own else {"paper": "swf_paper"}.get(welfare, welfare)
    stored: dict[int, dict[str, Any]] = {run_id: {"asked_verdicts": 0} for run_id in runs}
    for query in (YEARS.format(column=column), DECISIONS, VOTES, CALLS):
        for row in reader.rows(query, [list(runs)]):
            stored[row["run_id"]] |= row
    for run_id in [run_id for run_id, config in runs.items() if own and config.welfare != welfare]:
        stored[run_id] |= _recomputed(reader, run_id, runs[run_id], welfare)
    last = _last_years(reader, list(runs))
    return {run_id: _figures(row, _setting(runs[run_id], last[run_id], welfare)) for run_id, row in stored.items()}


PLAYED = """
SELECT list(wage ORDER BY agent) AS wage, list({counts} ORDER BY agent) AS utility,
       list(income ORDER BY agent) AS income
FROM panel WHERE run_id = ? GROUP BY year ORDER BY year
"""


def _recomputed(reader: Reader, run_id: int, config: RunConfig, welfare: str) -> Figures:
    """A user's own welfare function as played in a run with another objective, from its decisions."""
    counts = "adjusted_utility" if config.satisfaction_counts else "utility"
    function = welfare_function(welfare)
    values = [
        float(function(*(np.array(row[name]) for name in ("utility", "income", "wage"))))
        for row in reader.rows(PLAYED.format(counts=counts), [run_id])
    ]
    last = (config.max_timesteps - 1) // config.two_timescale * config.two_timescale
    return {"welfare": float(np.mean(values)), "welfare_last_tax_year": float(np.mean(values[last:]))}


def _last_years(reader: Reader, runs: list[int]) -> dict[int, dict[str, Any]]:
    """The wages and tastes of each run's last year, and each person's income from outside in that year."""
    query = """SELECT run_id, list(wage ORDER BY agent) AS wages, any_value(windfall) AS windfall,
                      list(taste ORDER BY agent) FILTER (taste IS NOT NULL) AS taste,
                      list(elasticity ORDER BY agent) FILTER (elasticity IS NOT NULL) AS elasticity,
                      list(participation_cost ORDER BY agent)
                          FILTER (participation_cost IS NOT NULL) AS participation_cost
               FROM panel JOIN (SELECT run_id, max(year) AS year FROM years GROUP BY run_id) USING (run_id, year)
               JOIN welfare_by_year USING (run_id, year)
               WHERE run_id IN (SELECT unnest(?::INTEGER[])) GROUP BY run_id"""
    return {row["run_id"]: row for row in reader.rows(query, [runs])}


def _setting(config: RunConfig, last: Mapping[str, Any], welfare: str) -> Setting:
    """The inputs of start and ORACLE: the people to be taxed, and the welfare function."""
    return Setting(
        economy=with_own(economy_in(config.economy, config.dollars_of, config.gamma or 0.0), last),
        thresholds=config.thresholds,
        wages=np.array(last["wages"]),
        welfare=welfare,
        elasticities=() if config.elasticity_of_labor else config.elasticity,
        uniform_rate=config.uniform_rate,
        windfall=last["windfall"],
        inequality_aversion=config.inequality_aversion,
        dollars_of=config.dollars_of,
        rates=() if config.own_law is None else config.own_law.rates,
        planner="LLM" if config.own_law is None else config.planner_type,
    )


@lru_cache(maxsize=4096)
def _bounds(setting: Setting) -> tuple[float, float]:
    """The objective at the start and under ORACLE's schedule; runs with the same people share them."""
    start, _, best = start_and_oracle(setting)
    return objective(setting, start), objective(setting, best)


def _figures(row: Mapping[str, Any], setting: Setting) -> Figures:
    """All measures from the query results for one run."""
    law = TaxSchedule(thresholds=tuple(row["thresholds"]), rates=tuple(row["rates"]))
    (start, best), reached = _bounds(setting), objective(setting, law)
    asked = row["asked_verdicts"]
    fallbacks = {**row, "fallback_verdicts": (asked - row["verdicts"]) / asked if asked else None}
    made = {
        "tokens": 0,  # for a run without model calls
        "cost_usd": 0,
        "calls": 0,
        **row,
        "welfare_best_response": reached,
        "planner_share": planner_share(start, reached, best),
        "fallback_rate": max((fallbacks[kind] for kind in FALLBACKS if fallbacks.get(kind) is not None), default=0),
    }
    return {name: _float(made.get(name)) for name in MEASURES}


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
