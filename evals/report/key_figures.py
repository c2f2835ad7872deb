"""The first part of a report: key figures, a paragraph, and warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.cautions import messages as cautions_told
from evals.output.number_format import MISSING, dollars, number, percent, rates, several, span
from evals.output.tables import Table
from evals.policies.loaded_run import LoadedRun
from evals.policies.share_of_gain import TOO_LITTLE, gain_in_words
from evals.report.settings import government
from pipeline.fixed_rates import rates_as_text
from pipeline.store.columns import Reader

TOLERATED = 0.05
"""Largest share of decisions that fell back to the previous action without a warning."""

IN_TAX_YEAR = """
SELECT avg(labor) AS hours, avg(best_labor) AS best_hours, avg(regret) AS regret,
       sum(regret) / nullif(sum(abs(best_utility)), 0) AS share_of_best, avg(satisfied::INTEGER) AS satisfied
FROM decisions WHERE run_id = $1 AND year BETWEEN $2 AND $3
"""

FALLBACKS = """
SELECT count(*) AS hours, count(*) FILTER (fallback) AS hours_missed,
       (SELECT count(planner_fallback) FROM years WHERE run_id = $1) AS laws,
       (SELECT count(*) FILTER (planner_fallback) FROM years WHERE run_id = $1) AS laws_missed
FROM decisions d JOIN agents a USING (run_id, agent) WHERE d.run_id = $1 AND a.asked
"""

USAGE = """
SELECT count(*) AS calls, count(*) FILTER (status <> 'ok') AS failed, sum(cost_usd) AS cost_usd,
       coalesce(sum(prompt_tokens), 0)::BIGINT + coalesce(sum(completion_tokens), 0)::BIGINT AS tokens,
       count(*) FILTER (cost_usd IS NULL AND response IS NOT NULL) AS unpriced
FROM lm_calls WHERE run_id = $1
"""

LAST_YEAR = "SELECT * FROM years WHERE run_id = $1 ORDER BY year DESC LIMIT 1"


@dataclass(frozen=True)
class Fact:
    """A key figure. `alarm`: it indicates a problem."""

    name: str
    value: str
    note: str
    alarm: bool = False


@dataclass(frozen=True, eq=False)
class Measured:
    """A run and its measurements: its last year, its first and last tax year, its fallbacks and usage.

    `cautions`: where its results can mislead.
    """

    run: LoadedRun
    last: dict[str, Any]
    first_tax_year: dict[str, Any]
    last_tax_year: dict[str, Any]
    fallbacks: dict[str, Any]
    usage: dict[str, Any]
    cautions: list[str]

    @property
    def compared(self) -> bool:
        """Whether there is more than one tax year."""
        return len(self.run.tax_years) > 1

    def missed(self, what: str) -> float:
        """The share of decisions on `what`, hours or laws, that fell back to the previous action."""
        asked = self.fallbacks[what]
        return float(self.fallbacks[f"{what}_missed"] / asked) if asked else 0.0


def measure(reader: Reader, run: LoadedRun) -> Measured:
    """Read all measurements."""
    spans = [reader.rows(IN_TAX_YEAR, [run.run_id, *span])[0] for span in run.tax_years]
    last, fallbacks, usage = (reader.rows(query, [run.run_id])[0] for query in (LAST_YEAR, FALLBACKS, USAGE))
    told = cautions_told.with_oracle(cautions_told.stored(reader, run.run_id, run.config), run.oracle.schedule)
    return Measured(run, last, spans[0], spans[-1], fallbacks, usage, list(told))


def facts(measured: Measured) -> list[Fact]:
    """The key figures, the most informative first."""
    last, usage = measured.last_tax_year, measured.usage
    found = [
        _share(measured.run),
        _welfare(measured.run),
        Fact("Mean regret", f"{dollars(last['regret'])} a year", _regret_note(measured)),
        Fact("Hours a week", f"{last['hours']:.1f}", _hours_note(measured)),
        Fact("Gini after tax", f"{measured.last['gini']:.3f}", f"{measured.last['gini_income']:.3f} before tax"),
    ]
    if last["satisfied"] is not None:
        found.append(Fact("Satisfied", percent(last["satisfied"]), _satisfied_note(measured)))
    found.append(_fallbacks(measured))
    note = f"{several(usage['tokens'], 'token')} in {several(usage['calls'], 'call')}, {usage['failed']:,} failed"
    found.append(Fact("Cost", cost(usage), note))
    return found


def cost(usage: dict[str, Any]) -> str:
    """Dollars; `?` for calls of unknown price."""
    known = f"${usage['cost_usd'] or 0:,.2f}"
    if not usage["unpriced"]:
        return known
    return f"{known} + ?" if usage["cost_usd"] else "?"


def _share(run: LoadedRun) -> Fact:
    if run.config.planner_type != "LLM":
        how = f"{rates_as_text(run.config.rates)} percent in every year" if run.config.rates else "sets the rates"
        return Fact("Planner", run.config.planner_type, f"{how} without a model")
    gain = gain_in_words(run.config.welfare, run.start.welfare, run.oracle.welfare)
    if run.share is None:
        return Fact("Planner share", MISSING, f"{TOO_LITTLE}: {gain}")
    return Fact("Planner share", percent(run.share), gain)


def _welfare(run: LoadedRun) -> Fact:
    optimum = number(run.oracle.welfare)
    note = f"{run.config.welfare} if every worker best-responds; ORACLE, the optimum at any rates, {optimum}"
    return Fact("Welfare of the last schedule", number(run.reached), note)


def _earlier(measured: Measured, value: str) -> str:
    """The value, and that of the first tax year if there is another one."""
    first, last = measured.run.tax_years[0], measured.run.tax_years[-1]
    return f"in {span(*last)}; {value} in {span(*first)}" if measured.compared else f"in {span(*last)}"


def _regret_note(measured: Measured) -> str:
    return f"{_earlier(measured, dollars(measured.first_tax_year['regret']))}"


def _hours_note(measured: Measured) -> str:
    return _earlier(measured, f"{measured.first_tax_year['hours']:.1f}")


def _satisfied_note(measured: Measured) -> str:
    return _earlier(measured, percent(measured.first_tax_year["satisfied"]))


def _fallbacks(measured: Measured) -> Fact:
    counts = measured.fallbacks
    note = f"{counts['hours_missed']:,} of {several(counts['hours'], 'decision')} on hours"
    if counts["laws"]:
        note += f", {counts['laws_missed']:,} of {counts['laws']:,} on rates"
    worst = max(measured.missed("hours"), measured.missed("laws"))
    return Fact("Fallbacks", percent(worst, 1), note, alarm=worst > TOLERATED)


def warnings(measured: Measured) -> list[str]:
    """Reasons to doubt a run's results."""
    run, found = measured.run, []
    for what, words in (("hours", "decisions on hours"), ("laws", "decisions on the tax rates")):
        if measured.missed(what) > TOLERATED:
            found.append(
                f"{percent(measured.missed(what), 1)} of the {words} fell back to the previous action because no reply "
                f"was usable: above {percent(TOLERATED)} the results say little about the model."
            )
    if run.row["status"] != "finished":
        error = f" ({run.row['error']})" if run.row["error"] else ""
        going_on = run.row["status"] == "running"
        status = "is still running, or was killed" if going_on else f"ended as {run.row['status']}{error}"
        found.append(f"The run {status}: {run.years:,} of {run.config.max_timesteps:,} years are here.")
    found += [line[0].upper() + line[1:] for line in measured.cautions]
    return found


def paragraph(measured: Measured) -> str:
    """The run in a few sentences."""
    return " ".join((_played(measured.run), _reached(measured.run), _worked(measured), _fell_back(measured)))


def _played(run: LoadedRun) -> str:
    config, years = run.config, several(run.years, "year")
    if run.years < config.max_timesteps:
        years = f"{run.years:,} of {config.max_timesteps:,} years"
    who = f"{several(config.num_agents, 'worker')} ({config.scenario}, {run.row['llm']})"
    return f"{who} worked for {years} under {government(run)}."


def _reached(run: LoadedRun) -> str:
    """The welfare of the last schedule, compared with the start and ORACLE's."""
    optimum = f"{number(run.oracle.welfare)} under ORACLE's {rates(run.oracle.schedule.rates)} %"
    gained = "" if run.share is None or run.share < 0 else f"{percent(run.share)} of ORACLE's gain over the start: "
    start = f"{number(run.start.welfare)} at the start and " if run.config.planner_type == "LLM" else ""
    return (
        f"The last schedule, {rates(run.world.schedule.rates)} %, brings {gained}a welfare ({run.config.welfare}) of "
        f"{number(run.reached)}, against {start}{optimum}, if every worker best-responds."
    )


def _worked(measured: Measured) -> str:
    last = measured.last_tax_year
    missed = f"{dollars(last['regret'])} a year ({percent(last['share_of_best'], 1)} of the best utility)"
    hours = f"worked {last['hours']:.1f} hours a week; the best hours were {last['best_hours']:.1f}"
    return f"In {span(*measured.run.tax_years[-1])} people {hours}. The difference cost them {missed}."


def _fell_back(measured: Measured) -> str:
    counts = measured.fallbacks
    missed, asked = counts["hours_missed"] + counts["laws_missed"], counts["hours"] + counts["laws"]
    if not asked:
        return "No model was asked."
    share = f"{percent(missed / asked, 1)} of the decisions" if missed else "No decision"
    return f"{share} fell back to the previous action."


def facts_table(measured: Sequence[Measured]) -> Table:
    """Key figures side by side, each with its note."""
    columns = [{fact.name: fact for fact in facts(one)} for one in measured]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [
        [name, *(f"{column[name].value}\n{column[name].note}" if name in column else MISSING for column in columns)]
        for name in names
    ]
    marked = {
        (i, j)
        for i, name in enumerate(names)
        for j, column in enumerate(columns, 1)
        if name in column and column[name].alarm
    }
    return Table("Key figures", ["", *(one.run.label for one in measured)], rows, marked=frozenset(marked))
