"""`llm_economist.state`: the inputs of a role's question, built from numbers, in the words in which a run asks it.

The words are those of signatures/texts and pipeline/simulation/observations.py, which a run uses, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evals.python.people import schedule_from
from pipeline.config import RunConfig, build
from pipeline.economy.baselines import Setting
from pipeline.economy.effort import with_own
from pipeline.economy.equilibrium import Outcome, equilibrium, settle
from pipeline.economy.population import UTILITY_TYPES
from pipeline.economy.tax import BRACKETS, FloatArray
from pipeline.economy.utility import ECONOMIES, effective_share, utility
from pipeline.economy.welfare import WELFARE
from pipeline.errors import UsageError
from pipeline.simulation import observations as see
from pipeline.simulation.elections.rules import ELECTION_RULES
from pipeline.simulation.memory import PlannerMemory, WorkerMemory
from signatures.texts.ballot import BallotRules, Candidate, Candidates
from signatures.texts.numbers import NO_YEARS
from signatures.texts.worker import Identity, LastRebate, Pay
from signatures.types import Demographics, RateChange, TaxSchedule

Wage = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, le=100)]
Rates = tuple[Annotated[float, Field(ge=0, le=100)], ...]
FixedCost = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Phase = Literal["explore", "exploit"]
UtilityType = Literal["egotistical", "altruistic", "adversarial"]
Role = Literal["worker", "planner", "voter", "persona"]

assert UtilityType.__args__ == UTILITY_TYPES  # type: ignore[attr-defined]

HISTORY = RunConfig().history_len
"""Years that a worker of a run remembers."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Taxed(_Facts):
    """What a question under a tax law needs.

    `rates`: percent by bracket, lowest first. `thresholds`: the lower edges in dollars a year; by default those of the
    bracket setting with as many brackets (1: flat, 3: three, 7: US_FED). `economy`, `utility`, `gamma` and `welfare`:
    as in a run.
    """

    rates: Rates
    thresholds: tuple[float, ...] | None = None
    economy: str = "weekly"
    utility: Literal["linear", "crra"] = "linear"
    gamma: float | None = None
    welfare: str = "inverse_income"
    inequality_aversion: float = 1.0

    def law(self, rates: Sequence[float]) -> TaxSchedule:
        edges = self.thresholds or next((one for one in BRACKETS.values() if len(one) == len(self.rates)), None)
        if edges is None:
            raise ValueError(f"rates={self.rates}: {len(self.rates)} brackets need thresholds, in dollars a year")
        return schedule_from(rates, edges)

    def setting(self, wages: FloatArray, participation_costs: Sequence[float] | None = None) -> Setting:
        known = [name for name, one in ECONOMIES.items() if not one.calibrated]
        if self.economy not in known:
            raise ValueError(f"economy={self.economy!r}: expected one of {', '.join(known)}")
        if self.welfare not in WELFARE:
            raise ValueError(f"welfare={self.welfare!r}: expected one of {', '.join(WELFARE)}")
        law, cost = self.law(self.rates), max(participation_costs or (0.0,))
        fits = {"utility": self.utility, "gamma": self.gamma, "welfare": self.welfare, "participation_cost": cost}
        economy = replace(ECONOMIES[self.economy], gamma=build(fits).gamma or 0.0)
        return Setting(
            with_own(economy, {"participation_cost": participation_costs}),
            law.thresholds,
            wages,
            self.welfare,
            inequality_aversion=self.inequality_aversion,
        )


class _Citizen(_Taxed):
    """A worker before a decision: its `wage` in dollars an hour, one of `num_agents` workers.

    `hours`: those a week that it worked in past years, the oldest first, and `past_rates` the rates of those years,
    which are by default the present ones. `last_rebate`: dollars a year. `participation_cost`: what it costs the worker
    to work at all, dollars a year.
    """

    wage: Wage
    participation_cost: FixedCost = 0.0
    num_agents: Annotated[int, Field(ge=1)] = 5
    persona: str | None = None
    last_rebate: float | None = None
    hours: tuple[Hours, ...] = ()
    past_rates: tuple[Rates, ...] | None = None

    def citizen(self) -> dict[str, str]:
        law = self.law(self.rates)
        return {
            "tax_schedule": str(law),
            "last_rebate": str(LastRebate(self.last_rebate)),
            "identity": str(Identity.of(self.persona, self.wage, fixed_cost=self.participation_cost)),
            "record": str(see.worker_record(self._memory(), 0, law)),
        }

    def alone(self) -> Setting:
        """The economy as if the worker were the only one, with its own costs."""
        costs = [self.participation_cost] if self.participation_cost else None
        return self.setting(np.array([self.wage]), costs)

    def _memory(self) -> WorkerMemory:
        if self.hours and self.last_rebate is None:
            raise ValueError("hours of past years need last_rebate, in dollars a year")
        past = self.past_rates if self.past_rates is not None else (self.rates,) * len(self.hours)
        if len(past) != len(self.hours):
            raise ValueError(f"past_rates has {len(past)} years, and hours {len(self.hours)}; give one for each")
        memory, setting = WorkerMemory(HISTORY, 1), self.alone()
        years = [
            (law, settle(setting.economy, law, setting.wages, [hours]))
            for hours, law in zip(self.hours, map(self.law, past), strict=True)
        ]
        others = 0.0  # the rest of the rebate, which counts only if hours depend on it
        if setting.economy.gamma and years:
            others = (self.last_rebate or 0.0) - float(years[-1][1].tax[0]) / self.num_agents
        for year, (law, alone) in enumerate(years):
            kept = alone.income - alone.tax * effective_share(self.num_agents) + others
            value = utility(setting.economy, kept, alone.labor)
            memory.remember(year=year, schedule=law, hours=alone.labor, income=alone.income, tax=alone.tax, value=value)
        return memory


class WorkerState(_Citizen):
    """For `ChooseLabor`. A worker that is not egotistical has no record, which would need the whole economy."""

    utility_type: UtilityType = "egotistical"
    phase: Phase = "exploit"

    def inputs(self) -> dict[str, Any]:
        if self.hours and self.utility_type != "egotistical":
            raise ValueError(f"hours of an {self.utility_type} worker: only the record of an egotistical one is known")
        objective = see.objective(self.utility_type, self.alone(), self.num_agents, 0)
        return {"objective": str(objective), **self.citizen(), "phase": self.phase}


class CandidateState(_Facts):
    """A name on the ballot: its `wage` in dollars an hour, and its `platform`, one change in percentage points for each
    bracket; if one candidate has a platform, all need one. `occupation`, `sex` and `age`: all or none."""

    wage: Wage
    platform: tuple[RateChange, ...] | None = None
    occupation: str | None = None
    sex: Literal["Male", "Female"] | None = None
    age: Annotated[int, Field(ge=16, le=90)] | None = None


class VoterState(_Citizen):
    """For `CastVote`. `candidates` by worker number; `voter`: the voter's own number, if it is one of them."""

    candidates: dict[int, CandidateState] = Field(min_length=1)
    voter: int | None = None
    election_rule: str = "plurality"

    def inputs(self) -> dict[str, Any]:
        rules = {name: rule for name, rule in ELECTION_RULES.items() if rule.form is not None}
        if self.election_rule not in rules:
            raise ValueError(f"election_rule={self.election_rule!r}: expected one of {', '.join(rules)}")
        rule = rules[self.election_rule]
        assert rule.form is not None
        with_platforms = any(one.platform is not None for one in self.candidates.values())
        lines = [self._line(number, one, with_platforms) for number, one in self.candidates.items()]
        told = {"ballot": str(BallotRules(rule.form, rule.words)), "candidates": str(Candidates(tuple(lines)))}
        return {**self.citizen(), **told}

    def _line(self, number: int, one: CandidateState, with_platforms: bool) -> Candidate:
        if with_platforms and len(one.platform or ()) != len(self.rates):
            raise ValueError(f"candidate {number}: its platform needs {len(self.rates)} changes, one for each bracket")
        census = None
        if one.occupation is not None and one.sex is not None and one.age is not None:
            census = Demographics(occupation=one.occupation, sex=one.sex, age=one.age)
        elif (one.occupation, one.sex, one.age) != (None, None, None):
            raise ValueError(f"candidate {number}: give occupation, sex and age, or none of them")
        return see.candidate(
            number, one.wage, census, own=number == self.voter, platform=one.platform, with_platform=with_platforms
        )


class PlannerState(_Taxed):
    """For `SetTaxRates`: the workers' `wages` in dollars an hour, and last year under the present `rates`.

    `hours`: of each worker, a week; by default those of best responses. `past_rates`: schedules tried before, each for
    one tax year of `years` years of best responses. `first`: there was no year yet. `satisfied`: how many workers were
    satisfied, and how many said; `halved`: their dissatisfaction counts. `participation_costs`: what it costs each
    worker to work at all, dollars a year.
    """

    wages: tuple[Wage, ...] = Field(min_length=1)
    participation_costs: tuple[FixedCost, ...] | None = None
    hours: tuple[Hours, ...] | None = None
    past_rates: tuple[Rates, ...] = ()
    years: Annotated[int, Field(ge=1)] = 1
    first: bool = False
    satisfied: tuple[int, int] | None = None
    halved: bool = False
    phase: Phase = "exploit"

    def inputs(self) -> dict[str, Any]:
        if self.participation_costs is not None and len(self.participation_costs) != len(self.wages):
            raise ValueError(f"participation_costs: {len(self.participation_costs)} for {len(self.wages)} wages")
        setting, law = self.setting(np.array(self.wages), self.participation_costs), self.law(self.rates)
        memory, economy = PlannerMemory(), NO_YEARS
        if not self.first:
            year = self._last(setting, law)
            welfare = _objective(setting, year)
            economy = str(
                see.economy_summary(
                    law,
                    income=year.income,
                    utility=year.utility,
                    hours=year.labor,
                    rebate=year.rebate,
                    welfare=welfare,
                    satisfied=self.satisfied,
                )
            )
            for number, rates in enumerate(self.past_rates):
                before = self.law(rates)
                self._remember(
                    memory, number, before, _objective(setting, equilibrium(setting.economy, before, setting.wages))
                )
            self._remember(memory, len(self.past_rates), law, welfare)
        elif self.hours or self.past_rates:
            raise ValueError("first=True: there were no years yet; leave out hours and past_rates")
        return {
            "objective": str(see.planner_objective(setting, len(self.wages), halved=self.halved)),
            "economy": economy,
            "record": str(see.planner_record(memory)),
            "tax_schedule": str(law),
            "phase": self.phase,
        }

    def _last(self, setting: Setting, law: TaxSchedule) -> Outcome:
        if self.hours is None:
            return equilibrium(setting.economy, law, setting.wages)
        if len(self.hours) != len(self.wages):
            raise ValueError(f"hours has {len(self.hours)} workers, and wages {len(self.wages)}")
        return settle(setting.economy, law, setting.wages, self.hours)

    def _remember(self, memory: PlannerMemory, number: int, law: TaxSchedule, welfare: float) -> None:
        for i in range(self.years):
            memory.remember(year=number * self.years + i, schedule=law, welfare=welfare, settled=i + 1 == self.years)


def _objective(setting: Setting, year: Outcome) -> float:
    return float(setting.objective(year.utility, year.income, setting.wages))


class PersonaState(Demographics):
    """For `WritePersona`: a census record, and the `wage` in dollars an hour."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wage: Wage

    def inputs(self) -> dict[str, Any]:
        return {"occupation": self.occupation, "sex": self.sex, "age": self.age, "wage": str(Pay.of(self.wage))}


STATES: Mapping[str, type[WorkerState | PlannerState | VoterState | PersonaState]] = {
    "worker": WorkerState,
    "planner": PlannerState,
    "voter": VoterState,
    "persona": PersonaState,
}
"""By role; the fields of each are the arguments of `state`."""


def state(role: Role, /, **facts: Any) -> dict[str, Any]:
    """The input fields of the main question of `role`, as a run would send them: for any dspy module that asks it.

    - `"worker"` (`ChooseLabor`): wage, rates, ... (`WorkerState`)
    - `"planner"` (`SetTaxRates`): wages, rates, ... (`PlannerState`)
    - `"voter"` (`CastVote`): wage, rates, candidates, ... (`VoterState`)
    - `"persona"` (`WritePersona`): occupation, sex, age, wage

    Money in dollars, a wage an hour and all else a year; rates in percent; hours a week. UsageError in one line for a
    value that cannot be used.

    >>> state("worker", wage=21.5, rates=(30, 40, 60))["identity"]
    'You are a worker. You earn $21.50 an hour, $44,720 a year at 40 hours a week.'
    """
    if role not in STATES:
        raise UsageError(f"state {role!r}: expected one of {', '.join(STATES)}")
    try:
        return STATES[role](**facts).inputs()
    except ValidationError as error:
        raise UsageError(f"state {role!r}: {_one_line(error, STATES[role])}") from None
    except ValueError as error:
        raise UsageError(f"state {role!r}: {error}") from None


def _one_line(error: ValidationError, made: type[BaseModel]) -> str:
    """The first fault: the argument, its value and what was expected."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        return f"no argument {name!r}; expected {', '.join(made.model_fields)}"
    if first["type"] == "missing":
        return f"{name} is missing"
    return f"{name}={first['input']!r:.60}: {first['msg'][:1].lower()}{first['msg'][1:]}"
