"""Scenarios as values. The loop reads their fields and never their names: a new scenario is one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """What happens in a scenario.

    `personas`: egotistical workers with a language model are people from the census. `satisfaction`: people judge
    the tax policy each year (what that counts for: `RunConfig.satisfaction`). `elections`: every tax
    year begins with an election of the leader. `agent_mix`: the population drawn unless another is asked for.
    """

    name: str
    personas: bool
    satisfaction: bool
    elections: bool
    agent_mix: str


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("rational", personas=False, satisfaction=False, elections=False, agent_mix="us_income"),
        Scenario("bounded", personas=True, satisfaction=True, elections=False, agent_mix="acs"),
        Scenario("democratic", personas=True, satisfaction=True, elections=True, agent_mix="acs"),
    )
}
