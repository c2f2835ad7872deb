"""Years of a run as cells of tables: the law, who works, earns, pays and gets what, and elections.

The explorer shows one year, the report all of them. Every cell is text without control characters, not yet escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.output.number_format import MISSING, changes, decimal, dollars, number, percent, plain, rates
from pipeline.store.columns import Reader, Row

MOST_WORKERS, MOST_CANDIDATES, MOST_VOTES = 40, 40, 200
"""Rows of a year's tables."""

CHOSEN = "run_id = $1 AND year BETWEEN $2 AND $3 AND (year - $2) % $4 = 0"

LAWS = f"SELECT * FROM welfare_by_year WHERE {CHOSEN} ORDER BY year"

TENTHS = f"""
WITH people AS (SELECT agent, wage, ntile(10) OVER (ORDER BY wage, agent) AS tenth FROM agents WHERE run_id = $1)
SELECT year, tenth, count(*) AS workers, avg(coalesce(d.shocked_wage, p.wage)) AS wage, avg(labor) AS hours,
       avg(best_labor) AS best_hours, avg(income) AS income, avg(tax) AS tax, avg(rebate) AS rebate,
       avg(utility) AS utility, avg(regret) AS regret, avg(satisfied::INTEGER) AS satisfied
FROM decisions d JOIN people p ON p.agent = d.agent WHERE {CHOSEN} GROUP BY year, tenth ORDER BY year, tenth
"""

WORKERS = f"""
WITH ranked AS (
    SELECT agent, wage, occupation, row_number() OVER (ORDER BY wage, agent) - 1 AS rank FROM agents WHERE run_id = $1),
picked AS (SELECT * FROM ranked WHERE rank IN (SELECT unnest($5::BIGINT[])))
SELECT year, p.agent, coalesce(d.shocked_wage, p.wage) AS wage, left(p.occupation, 80) AS occupation, d.labor,
       d.best_labor, d.income, d.tax, d.rebate, d.utility, d.regret, d.satisfied, d.fallback
FROM picked p JOIN decisions d ON d.agent = p.agent WHERE {CHOSEN} ORDER BY year, p.rank
"""

CANDIDATES = f"""
SELECT year, candidate, wage, left(occupation, 80) AS occupation, votes, vote_share, abstentions, voters, elected,
       platform, enacted
FROM elections WHERE {CHOSEN}
QUALIFY row_number() OVER (PARTITION BY year ORDER BY votes DESC NULLS LAST, candidate) <= {MOST_CANDIDATES}
ORDER BY year, votes DESC NULLS LAST, candidate
"""

VOTES = f"""
SELECT year, voter, candidate, ballot, fallback FROM votes WHERE {CHOSEN}
QUALIFY row_number() OVER (PARTITION BY year ORDER BY voter) <= $5 ORDER BY year, voter
"""

LAW_HEAD = ("income", "marginal rate")
CANDIDATE_HEAD = ("candidate", "occupation", "wage", "votes", "share", "platform", "enacted")
BALLOT_HEAD = ("voter", "candidates, the best first", "fallback")
TENTH_HEAD = ("tenth", "workers", "wage", "hours", "best hours", "income", "tax", "rebate", "utility", "regret")
PEOPLE_HEAD = ("worker", "occupation", "wage", "hours", "best hours", "income", "tax", "rebate", "regret", "satisfied")
"""`TENTH_HEAD` is followed by `satisfied` if there are verdicts."""


@dataclass(frozen=True)
class Years:
    """Every `step`-th year of a run from `first` to `last`, both included."""

    run_id: int
    first: int
    last: int
    step: int = 1

    def read(self, reader: Reader, query: str, *more: object) -> list[Row]:
        """The rows of one of the queries above in these years."""
        return [*reader.rows(query, [self.run_id, self.first, self.last, self.step, *more])]


def title(law: Row) -> str:
    """The year and its rates in words."""
    return f"Year {law['year']}: rates of {rates(law['rates'])} %"


def facts(law: Row, *, elected: bool) -> dict[str, str]:
    """Figures of a year by name. `elected`: whether leaders govern."""
    return {
        "welfare": number(law["welfare"]),
        "if all best-responded": number(law["welfare_best_response"]),
        "hours": f"{law['mean_labor']:.1f}",
        "revenue": dollars(law["revenue"]),
        "rebate": dollars(law["rebate"]),
        "Gini after tax": number(law["gini"]),
        "change": changes(law["rate_changes"]),
        **({"governs": MISSING if law["leader"] is None else f"worker {law['leader']}"} if elected else {}),
    }


def law_cells(law: Row) -> list[list[str]]:
    """A row per bracket, under `LAW_HEAD`."""
    edges = [*law["thresholds"], None]
    return [
        [f"from {dollars(low)}" if high is None else f"{dollars(low)} to {dollars(high)}", f"{rate:g} %"]
        for low, high, rate in zip(edges, edges[1:], law["rates"], strict=False)
    ]


def tenth_cells(row: Row, *, judged: bool) -> list[str]:
    """The means of a tenth of the workers, under `TENTH_HEAD`. `judged`: whether there are verdicts."""
    return [
        *(str(row["tenth"]), f"{row['workers']:,}", f"${row['wage']:,.2f}", f"{row['hours']:.1f}"),
        decimal(row["best_hours"], 1),
        *(dollars(row[name]) for name in ("income", "tax", "rebate", "utility", "regret")),
        *([percent(row["satisfied"])] if judged else []),
    ]


def worker_cells(row: Row) -> list[str]:
    """A worker's year, under `PEOPLE_HEAD`."""
    return [
        *(str(row["agent"]), plain(row["occupation"]) or MISSING, f"${row['wage']:,.2f}"),
        f"{row['labor']:g}" + (" (fallback)" if row["fallback"] else ""),
        decimal(row["best_labor"], 1),
        *(dollars(row[name]) for name in ("income", "tax", "rebate", "regret")),
        MISSING if row["satisfied"] is None else "yes" if row["satisfied"] else "no",
    ]


def candidate_cells(row: Row) -> list[str]:
    """A candidate, under `CANDIDATE_HEAD`."""
    return [
        *(f"worker {row['candidate']}", plain(row["occupation"]) or MISSING),
        MISSING if row["wage"] is None else f"${row['wage']:,.2f}",
        *(MISSING if row["votes"] is None else str(row["votes"]), percent(row["vote_share"])),
        *(changes(row["platform"]), changes(row["enacted"]) if row["elected"] else ""),
    ]


def turnout(candidates: Sequence[Row]) -> str:
    """Who voted in the election of these candidates, and how to read their table."""
    first = candidates[0]
    voted = "" if first["voters"] is None else f"{first['voters']} voters, {first['abstentions'] or 0} abstentions. "
    return f"{voted}The winner is marked; changes of rates in percentage points."


def ballot_cells(row: Row) -> list[str]:
    """A ballot, under `BALLOT_HEAD`."""
    return [
        f"worker {row['voter']}",
        "abstains" if row["candidate"] is None else ", ".join(f"worker {one}" for one in row["ballot"]),
        "yes" if row["fallback"] else "",
    ]
