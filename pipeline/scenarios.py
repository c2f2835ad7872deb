"""The scenarios. Code reads their fields and never their names, so a new scenario is one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """The features of a scenario.

    `personas`: egotistical workers with a language model have personas from the census. `satisfaction`: people judge
    the tax policy each year (`RunConfig.satisfaction` says how it counts). `elections`: each tax year begins with an
    election of the leader. `agent_mix`: the default population.
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
