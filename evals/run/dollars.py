"""State the year of a run's dollar amounts, if the years differ enough to matter."""

from __future__ import annotations

from evals.output.console import Console
from pipeline.config import RunConfig
from pipeline.economy.laws.cpi import inflation
from pipeline.economy.laws.dollars import LAW_YEAR, PAPER_YEAR
from pipeline.economy.population import POPULATIONS
from pipeline.scenarios import SCENARIOS

NOTICEABLE = 0.05
"""Growth of prices between wages and thresholds above which a run reports it: a year or two move few people."""


def tell_dollars(config: RunConfig, console: Console) -> None:
    """Print the line of `dollars_in_words`, if there is one."""
    if line := dollars_in_words(config):
        console.print(line, highlight=False, soft_wrap=True)


def dollars_in_words(config: RunConfig) -> str | None:
    """The year of the run's dollars; without one, a note that wages and federal thresholds are of different years.

    None if neither is worth a line.
    """
    federal = "US_FED" in (config.bracket_setting, config.planner_type)
    wages = POPULATIONS[config.agent_mix or SCENARIOS[config.scenario].agent_mix].dollars_of
    if config.dollars_of is None:
        growth = inflation(wages, LAW_YEAR) - 1
        if not federal or growth < NOTICEABLE:
            return None
        return (
            f"Wages are in {wages} dollars and the federal thresholds in {LAW_YEAR} dollars, while prices rose by "
            f"{growth:.1%} in between; --dollars-of {LAW_YEAR} states both in the same dollars."
        )
    years = {"wages": wages, "thresholds": LAW_YEAR if federal else PAPER_YEAR, "effort": PAPER_YEAR}
    factors = (f"{what} of {year} x {inflation(year, config.dollars_of):.4f}" for what, year in years.items())
    return f"All money is in {config.dollars_of} dollars: {', '.join(factors)}."
