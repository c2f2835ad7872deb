"""Tables of the report: policies for the same people, elections, changes of the law, people, and model calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.elections.command import law_rows
from evals.elections.diagnosis import LAWS, diagnose, governed
from evals.output.number_format import MISSING, changes, dollars, number, percent, rates, several
from evals.output.tables import Table
from evals.policies.loaded_run import LoadedRun
from evals.policies.share_of_gain import BOTH_OPTIMA, FITTED, ON_FRESH_PEOPLE, SHARE_OF_GAIN, judged
from pipeline.economy.equilibrium import equilibrium
from pipeline.economy.welfare import WELFARE, own_function
from pipeline.simulation.fresh_people import BY_NUMBER, fresh_people
from pipeline.store.columns import Reader
from signatures.types import TaxSchedule

LATEST_ELECTIONS, LATEST_LAWS, MOST_PEOPLE = 20, 20, 40

AS_PLAYED = "SELECT *, swf_paper AS paper FROM years WHERE run_id = $1 ORDER BY year DESC LIMIT 1"

ELECTIONS = """
SELECT year, count(*) AS candidates, any_value(voters) AS voters, any_value(abstentions) AS abstentions,
       any_value(candidate) FILTER (elected) AS winner, any_value(occupation) FILTER (elected) AS occupation,
       any_value(wage) FILTER (elected) AS wage, any_value(votes) FILTER (elected) AS votes,
       any_value(platform) FILTER (elected) AS platform, any_value(enacted) AS enacted
FROM elections WHERE run_id = $1 GROUP BY year ORDER BY year DESC LIMIT $2
"""

PEOPLE = """
SELECT a.agent, a.occupation, a.sex, a.age, a.wage, a.utility_type, a.persona,
       avg(labor) FILTER (year BETWEEN $2 AND $3) AS first_hours, avg(labor) FILTER (year BETWEEN $4 AND $5) AS hours,
       avg(regret) FILTER (year BETWEEN $4 AND $5) AS regret, avg(satisfied::INTEGER) AS satisfied
FROM (SELECT *, row_number() OVER (ORDER BY wage, agent) - 1 AS rank FROM agents WHERE run_id = $1) a
LEFT JOIN decisions d ON d.run_id = a.run_id AND d.agent = a.agent
WHERE a.rank IN (SELECT unnest($6::BIGINT[])) GROUP BY ALL ORDER BY a.wage, a.agent
"""

COST = """
SELECT role, signature, strategy, model, calls, failed, prompt_tokens, completion_tokens, cost_usd, mean_latency_ms
FROM cost_by_role WHERE run_id = $1 ORDER BY role, signature, strategy, model
"""


def policies(reader: Reader, runs: Sequence[LoadedRun]) -> Table:
    """Welfare of the same people under the schedules of these runs and under every baseline; the best is marked."""
    run, several_runs = runs[0], len(runs) > 1
    names = _functions(run)
    fresh = [ON_FRESH_PEOPLE] if fresh_people(run.world) is not None else []
    played, laws = [], []
    for one in runs:
        prefix = f"{one.label}: " if several_runs else ""
        last = reader.rows(AS_PLAYED, [one.run_id])[0]
        values = [number(last["welfare" if name == one.config.welfare else name]) for name in names]
        played.append([f"{prefix}last year as played", rates(last["rates"]), *values, "", *[""] * len(fresh)])
        laws.append((f"{prefix}last schedule", one.world.schedule))
    laws += [(one.name, one.schedule) for one in (run.start, *run.yardsticks)]
    welfare = [(label, law, _welfare(run, law)) for label, law in laws]
    rows = [
        [label, rates(law.rates), *map(number, values), percent(one.share, 1), *([number(one.fresh)] if fresh else [])]
        for (label, law, values), one in zip(welfare, judged(run.world, laws), strict=True)
    ]
    best = {
        (len(played) + i, 2 + j)
        for j in range(len(names))
        for i, (_, _, values) in enumerate(welfare)
        if values[j] == max(others[j] for _, _, others in welfare)
    }
    marked_names = [name + (" *" if name == run.config.welfare else "") for name in names]
    head = ["policy", "rates, %", *marked_names, SHARE_OF_GAIN, *fresh]
    of_runs = f" ({', '.join(one.label for one in runs)})" if several_runs else ""
    caption = (
        f"Welfare of the same people{of_runs}, dollars per person per year (paper: a sum{_own_unit(run)}). "
        "* the objective, to which the "
        f"last columns refer. All rows except years as played: every worker best-responds. {BOTH_OPTIMA} "
        f"{FITTED if fresh else BY_NUMBER}"
    )
    return Table(caption, head, played + rows, numeric=frozenset(range(2, len(head))), marked=frozenset(best))


def _welfare(run: LoadedRun, law: TaxSchedule) -> list[float]:
    """Every welfare function if every worker best-responds to `law`."""
    setting = run.world.setting()
    best = equilibrium(setting.economy, law, setting.wages, windfall=setting.windfall)
    functions = setting.welfare_functions
    return [float(functions[name](best.utility, best.income, setting.wages)) for name in _functions(run)]


def _own_unit(run: LoadedRun) -> str:
    own = own_function(run.config.welfare)
    return f"; {own.name}: {own.unit}" if own is not None else ""


def _functions(run: LoadedRun) -> list[str]:
    """Every built-in welfare function, and the run's objective."""
    return list(dict.fromkeys((*WELFARE, run.config.welfare)))


def elections(reader: Reader, run: LoadedRun) -> Table | None:
    """The latest elections, newest first."""
    rows = reader.rows(ELECTIONS, [run.run_id, LATEST_ELECTIONS])
    if not rows:
        return None
    head = ["year", "winner", "wage", "votes", "turnout", "candidates", "platform", "enacted"]
    caption = f"{run.label}: the latest {several(len(rows), 'election')}. Changes of rates in percentage points."
    cells = [
        [
            *(str(row["year"]), _winner(row), _wage(row["wage"]), _votes(row), _turnout(row), str(row["candidates"])),
            *(changes(row["platform"]), changes(row["enacted"])),
        ]
        for row in rows
    ]
    return Table(caption, head, cells, numeric=frozenset((2, 3, 4, 5)))


def laws(reader: Reader, run: LoadedRun) -> Table | None:
    """The latest changes of the law of a run with elections, and the means over all, as `elections` shows them."""
    if run.run_id not in governed(reader):
        return None
    lab = diagnose(reader, str(run.run_id))
    before, changed, means = law_rows(lab)
    latest = changed[-LATEST_LAWS:]
    rows = [*([before] if len(latest) == len(changed) else []), *latest, *means]
    what = "every change of the law" if len(latest) == len(changed) else f"the latest {len(latest)} changes of the law"
    caption = (
        f"{run.label}: {what}, of {len(changed)}, including turns without a candidate and changes by shocks. "
        "Means are over turns of government; `of` counts the turns in each."
    )
    head = ["year", "made by", "rates", *(name.replace("_", " ") for name in LAWS)]
    return Table(caption, head, rows, numeric=frozenset(range(3, len(head))))


def _winner(row: dict[str, Any]) -> str:
    if row["winner"] is None:
        return "none: no ballot named a candidate"
    return f"worker {row['winner']}" + (f", {row['occupation']}" if row["occupation"] else "")


def _wage(wage: float | None) -> str:
    return MISSING if wage is None else f"${wage:,.2f}"


def _votes(row: dict[str, Any]) -> str:
    return MISSING if row["votes"] is None or row["voters"] is None else f"{row['votes']} of {row['voters']}"


def _turnout(row: dict[str, Any]) -> str:
    return percent(1 - row["abstentions"] / row["voters"]) if row["voters"] else MISSING


def people(reader: Reader, run: LoadedRun) -> Table:
    """The workers and their outcomes, lowest wage first; for many workers, a sample over all wages."""
    first, last = run.tax_years[0], run.tax_years[-1]
    rows = reader.rows(PEOPLE, [run.run_id, *first, *last, even_ranks(run.config.num_agents, MOST_PEOPLE)])
    known = any(row["occupation"] for row in rows)
    judged = any(row["satisfied"] is not None for row in rows)
    head = [
        "worker",
        *(["who", "persona"] if known else []),
        "wage",
        "first hours",
        "last hours",
        "regret a year",
    ]
    head += ["satisfied"] if judged else []
    cells = [
        [str(row["agent"]) + ("" if row["utility_type"] == "egotistical" else f" ({row['utility_type']})")]
        + ([f"{row['occupation']}, {row['sex']}, {row['age']}", row["persona"] or MISSING] if known else [])
        + [_wage(row["wage"]), f"{row['first_hours']:.1f}", f"{row['hours']:.1f}", dollars(row["regret"])]
        + ([percent(row["satisfied"])] if judged else [])
        for row in rows
    ]
    sampled = len(rows) < run.config.num_agents
    some = (
        f"{len(rows)} of {run.config.num_agents:,} workers, at evenly spaced ranks from the lowest to the highest wage"
    )
    caption = f"{run.label}: {some if sampled else 'workers by wage, the lowest first'}"
    return Table(caption, head, cells, numeric=frozenset(range(3 if known else 1, len(head))))


def even_ranks(count: int, most: int) -> list[int]:
    """At most `most` evenly spaced ranks from 0 to `count` - 1, including the first and the last.

    >>> even_ranks(3, 40), even_ranks(101, 5)
    ([0, 1, 2], [0, 25, 50, 75, 100])
    """
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def cost(reader: Reader, run: LoadedRun) -> Table | None:
    """The cost of each question."""
    rows = reader.rows(COST, [run.run_id])
    if not rows:
        return None
    head = ["question", "strategy", "model", "calls", "failed", "prompt tokens", "reply tokens", "mean seconds", "cost"]
    cells = [
        [f"{row['signature']} ({row['role']})", row["strategy"] or MISSING, row["model"] or MISSING]
        + [_count(row[name]) for name in ("calls", "failed", "prompt_tokens", "completion_tokens")]
        + [number(row["mean_latency_ms"] / 1000) if row["mean_latency_ms"] is not None else MISSING]
        + ["?" if row["cost_usd"] is None else f"${row['cost_usd']:,.4f}"]
        for row in rows
    ]
    return Table(f"{run.label}: model calls, including failed attempts", head, cells, numeric=frozenset(range(3, 9)))


def _count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"
