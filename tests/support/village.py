"""A village written by hand, and a way to put its questions to a model: what several tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy
import numpy as np
from dspy import lm15

from pipeline.agents.agents import QUIET
from pipeline.agents.roles import PROGRAMS, QUESTIONS
from pipeline.economy.baselines import Setting
from pipeline.economy.equilibrium import settle
from pipeline.economy.population import Population
from pipeline.economy.tax import BRACKETS
from pipeline.economy.utility import Economy
from pipeline.economy.welfare import WELFARE
from pipeline.simulation import observations as see
from pipeline.simulation.elections.rules import ELECTION_RULES
from pipeline.simulation.memory import PlannerMemory, WorkerMemory
from programs.adapters.repairing import ADAPTERS
from programs.calls.context import CallContext, entered
from programs.calls.observed_engine import AsyncObservedEngine, ObservedEngine
from programs.calls.protocols import Attempt
from programs.models import Model, connect
from programs.roles.voter import ballot
from programs.strategies.registry import strategy
from signatures.texts.ballot import BallotRules, candidate_name
from signatures.texts.planner import RateChanges, Satisfaction
from signatures.texts.worker import Identity, LastRebate, YearSummary
from signatures.types import TaxSchedule

ECONOMY = Economy()
OLD_LAW = TaxSchedule(thresholds=BRACKETS["three"], rates=(50, 50, 50))
LAW = TaxSchedule(thresholds=BRACKETS["three"], rates=(30, 40, 60))
CHANGED_IN = 4

POPULATION = Population(
    wage=np.array([12.5, 19.0, 27.5, 41.0, 96.0]),
    utility_type=np.array(["egotistical"] * 5, dtype=object),
    occupation=np.array(["Cashiers", "Home health aides", "Carpenters", "Registered nurses", "Lawyers"], dtype=object),
    sex=np.array(["Male", "Female", "Male", "Female", "Female"], dtype=object),
    age=np.array([19, 58, 34, 46, 51]),
)

PERSONA = (
    "You are a 51-year-old woman working as a lawyer in a small firm, with two children about to leave for college. "
    "You grew up with little, save carefully and take few risks. You do not mind long weeks as long as they pay."
)

HOURS = np.array(
    [
        [40, 40, 40, 40, 40],
        [50, 30, 40, 50, 50],
        [40, 35, 30, 40, 60],
        [30, 40, 40, 45, 55],
        [40, 40, 35, 45, 50],
        [35, 45, 45, 50, 60],
        [30, 40, 40, 40, 45],
    ],
    dtype=float,
)
"""What the villagers worked, hours a week: a row a year."""

SETTING = Setting(ECONOMY, LAW.thresholds, POPULATION.wage)
LAST_YEAR = settle(ECONOMY, LAW, POPULATION.wage, HOURS[-1])
PLATFORMS: Mapping[int, tuple[int, ...]] = {0: (0, 10, 20), 2: (-10, 0, 10), 4: (0, -10, -20)}


def memories() -> tuple[WorkerMemory, PlannerMemory]:
    """What workers and planner remember of the years in `HOURS`."""
    workers, planner = WorkerMemory(50, POPULATION.num_agents), PlannerMemory()
    for year, hours in enumerate(HOURS):
        law = OLD_LAW if year < CHANGED_IN else LAW
        outcome = settle(ECONOMY, law, POPULATION.wage, hours)
        workers.remember(
            year=year,
            schedule=law,
            hours=hours,
            income=outcome.income,
            tax=outcome.tax,
            value=outcome.utility - outcome.rebate + outcome.tax / POPULATION.num_agents,
        )
        welfare = float(WELFARE["inverse_income"](outcome.utility, outcome.income, POPULATION.wage))
        planner.remember(year=year, schedule=law, welfare=welfare, settled=year in (CHANGED_IN - 1, len(HOURS) - 1))
    return workers, planner


def inputs_of(question: str, *, rule: str = "plurality") -> dict[str, Any]:
    """The input fields of `question`, as the lawyer (agent 4) or the planner sees them after the years in `HOURS`."""
    workers, planner = memories()
    agent, year = 4, LAST_YEAR
    citizen = {
        "tax_schedule": str(LAW),
        "last_rebate": str(LastRebate(year.rebate)),
        "identity": str(Identity.of(PERSONA, POPULATION.wage[agent])),
        "record": str(see.worker_record(workers, agent, LAW)),
    }
    government = {
        "objective": str(see.planner_objective(SETTING, POPULATION.num_agents, halved=False)),
        "economy": str(
            see.economy_summary(
                LAW,
                income=year.income,
                utility=year.utility,
                hours=year.labor,
                rebate=year.rebate,
                welfare=float(WELFARE["inverse_income"](year.utility, year.income, POPULATION.wage)),
            )
        ),
        "record": str(see.planner_record(planner)),
        "tax_schedule": str(LAW),
        "phase": "explore",
    }
    told = str(see.candidates(PLATFORMS, POPULATION, voter=agent, with_platforms=True))
    this_year = str(
        YearSummary(
            hours=year.labor[agent],
            income=year.income[agent],
            tax=year.tax[agent],
            rebate=year.rebate,
            utility=year.utility[agent],
        )
    )
    inputs: dict[str, dict[str, Any]] = {
        "WritePersona": {
            "occupation": "Lawyers",
            "sex": "Female",
            "age": 51,
            "wage": "$96.00 an hour, $199,680 a year at 40 hours a week",
        },
        "ChooseLabor": {
            "objective": str(see.objective("egotistical", SETTING, POPULATION.num_agents)),
            **citizen,
            "phase": "explore",
        },
        "JudgeTaxPolicy": {
            "tax_schedule": citizen["tax_schedule"],
            "identity": citizen["identity"],
            "this_year": this_year,
        },
        "SetTaxRates": government,
        "StandForOffice": citizen,
        "CastVote": {
            **citizen,
            "ballot": str(BallotRules(ELECTION_RULES[rule].form or "name", ELECTION_RULES[rule].words)),
            "candidates": told,
        },
        "GovernAsLeader": {
            **government,
            "economy": f"{government['economy']}\n{Satisfaction(3, 5)}",
            "identity": citizen["identity"],
            "own_record": citizen["record"],
            "platform": str(RateChanges.of(PLATFORMS[agent])),
        },
        "AnswerInterview": {
            "objective": str(see.objective("egotistical", SETTING, POPULATION.num_agents)),
            "tax_schedule": citizen["tax_schedule"],
            "last_year": f"rebate: {citizen['last_rebate']}",
            "identity": citizen["identity"],
            "record": citizen["record"],
            "phase": "explore",
            "this_year": f"{this_year} You said that you were satisfied with the tax policy.",
            "question": "Why did you work more than in other years?",
        },
    }
    return inputs[question]


def module_of(question: str, strategy_name: str = "io", *, brackets: int = 3, form: str = "name") -> dspy.Module:
    """The module that asks `question`, as a run makes it."""
    role, attribute = QUESTIONS[question]
    module = getattr(PROGRAMS[role](strategy(strategy_name), brackets), attribute)
    names = [candidate_name(agent) for agent in PLATFORMS]
    return ballot(module, names, form) if question == "CastVote" else module


@dataclass
class CallRecorder:
    """Keeps what engines and adapters report (see programs/calls/observed_engine.py): requests, errors, outcomes. Seeds
    are 7."""

    attempts: list[Attempt] = field(default_factory=list)
    outcomes: list[Any] = field(default_factory=list)
    failures: int = 0

    def recall(self, request: lm15.Request) -> lm15.Response | None:
        return None

    def sampling_seed(self, request: lm15.Request) -> int:
        return 7

    def attempted(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self.failures = 0 if attempt.error is None else self.failures + 1

    @property
    def question(self) -> object:
        return self

    @property
    def shared(self) -> None:
        return None

    def branch(self, number: int, of: int = 1) -> CallRecorder:
        """A branch hears for itself and reports here."""
        return CallRecorder(self.attempts, self.outcomes)

    def join(self, branches: Sequence[Any]) -> None:
        return None

    def use(self, call_id: int | None) -> None:
        return None

    @property
    def answered_by(self) -> int | None:
        return len(self.attempts)

    def report(self) -> None:
        return None

    def parsed(self, fields: dict[str, Any]) -> None:
        self.outcomes.append(fields)

    def unparsed(self, reason: str) -> None:
        self.outcomes.append(reason)


@dataclass
class Scripted:
    """An engine that says its lines one after the other and keeps the requests; a line may be an error to raise."""

    lines: list[str | Exception]
    requests: list[lm15.Request] = field(default_factory=list)

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.requests.append(request)
        line = self.lines[len(self.requests) - 1]
        if isinstance(line, Exception):
            raise line
        return lm15.Response(
            id=None,
            model="scripted",
            message=lm15.Message.assistant(line),
            finish_reason="stop",
            usage=lm15.Usage(input_tokens=1000, output_tokens=10),
        )


def scripted_lm(engine: Any, *, timeout: float = 5.0, retries: int = 0) -> dspy.LM:
    """A language model over `engine`, observed as in a run."""
    return dspy.LM(
        "scripted",
        engine=ObservedEngine(engine),
        async_engine=AsyncObservedEngine(engine, timeout=timeout),
        cache=False,
        num_retries=retries,
    )


def ask(
    module: dspy.Module,
    inputs: Mapping[str, Any],
    *,
    lm: dspy.LM | None = None,
    adapter: str = "chat",
    lineage: Any = None,
    sync: bool = False,
) -> dspy.Prediction:
    """Put a question as a run does (or by a synchronous call), to `rules` unless another `lm` is given.

    As in a run, DSPy keeps nothing of its own, and `lineage` hears of every attempt.
    """
    context = CallContext() if lineage is None else CallContext.recorded_by(lineage)
    with entered(context, lm=lm or connect(Model("rules")), adapter=ADAPTERS[adapter](), **QUIET):
        return module(**inputs) if sync else asyncio.run(module.acall(**inputs))
