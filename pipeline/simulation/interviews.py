"""Interviews: ask an agent of a stored run about one of its years, with the memory that it had at that time.

The prompt holds what the agent was shown before its decision, rebuilt from the store, and the year's outcome, which it
did not know then. An interview does not change the run; it only adds its calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.agents.agents import LLMAgents
from pipeline.agents.question import Answer, Question
from pipeline.config import RunConfig
from pipeline.errors import ModelError, UsageError
from pipeline.simulation import observations as see
from pipeline.simulation.government import planner_inputs
from pipeline.simulation.loop import labor_inputs
from pipeline.simulation.restore import restore
from pipeline.simulation.world import World
from pipeline.store.call_rows import INTERVIEW, next_interview
from pipeline.store.columns import Row
from pipeline.store.run_lookup import config_of, schedule_of, settings_of_year, years_played
from pipeline.store.writer import Store
from signatures.texts.interview import LeadersRecord, PlannersYear, RatesDecision
from signatures.texts.planner import EconomySummary, RateChanges
from signatures.texts.worker import YearSummary

LONGEST_QUESTION = 2000
"""Maximum characters of a question."""


class Interview:
    """One agent in one year of a run. `agent` None: the planner, or the elected leader.

    Raises UsageError in one line if no model decided for the agent.
    """

    def __init__(self, store: Store, run: Row, *, agent: int | None, year: int | None) -> None:
        self.store, self.run_id = store, int(run["run_id"])
        self.year = _year(year, self.run_id, years_played(store, self.run_id))
        played = settings_of_year(store, run, self.year)
        self.config, self.llm = replace(config_of(played), callback=()), str(played["llm"])  # no year is played
        self.row: Row = store.rows("SELECT * FROM years WHERE run_id = ? AND year = ?", [self.run_id, self.year])[0]
        self.world = restore(store, self.run_id, self.config, self.year)
        self.agent = self.row["leader"] if agent is None else agent
        self.role = "worker" if agent is not None else "planner" if self.agent is None else "voter"
        self._refuse_agents_without_model()

    def _refuse_agents_without_model(self) -> None:
        """UsageError unless a model decided for the agent in the run."""
        if self.role == "planner" and self.config.planner_type != "LLM":
            rule = f"the planner of run {self.run_id} is the baseline {self.config.planner_type}, not a model"
            raise UsageError(f"--planner: {rule}; interview a worker: --agent N")
        if self.agent is not None and not 0 <= self.agent < self.world.num_agents:
            raise UsageError(f"--agent {self.agent}: run {self.run_id} has workers 0 to {self.world.num_agents - 1}")
        if self.agent is not None and not self.world.asked[self.agent]:
            kind = f"--worker-type {self.config.worker_type}"
            raise UsageError(f"--agent {self.agent}: no model decided for this worker in run {self.run_id} ({kind})")

    def inputs(self, question: str) -> dict[str, str]:
        """The input fields: what was known before the year's decision, the outcome, and the question."""
        asked = question.strip()
        if not 0 < len(asked) <= LONGEST_QUESTION:
            raise UsageError(f"the question has {len(asked)} characters; expected 1 to {LONGEST_QUESTION}")
        known = self._of_worker() if self.role == "worker" else self._of_planner()
        return {**known, "question": asked}

    def _of_worker(self) -> dict[str, str]:
        assert self.agent is not None
        self._enter_year()
        shown = labor_inputs(self.world, self.agent, self.year)
        return {
            **{name: shown[name] for name in ("objective", "tax_schedule", "identity", "record", "phase")},
            "last_year": f"rebate: {shown['last_rebate']}",
            "this_year": self._outcome_of_worker(),
        }

    def _enter_year(self) -> None:
        """Set the year's law and leader, as in force when workers chose their hours."""
        self.world.schedule, self.world.leader = schedule_of(self.row), self.row["leader"]

    def _outcome_of_worker(self) -> str:
        query = "SELECT * FROM decisions WHERE run_id = ? AND year = ? AND agent = ?"
        made = self.store.rows(query, [self.run_id, self.year, self.agent])[0]
        told = {name: made[name] for name in ("income", "tax", "rebate", "utility", "satisfied")}
        return str(YearSummary(hours=made["labor"], **told))

    def _of_planner(self) -> dict[str, str]:
        shown = planner_inputs(self.world, self.year)
        who, record = "You are the planner who sets the tax rates.", shown["record"]
        if self.agent is not None:
            own = see.worker_record(self.world.memory, self.agent, self.world.schedule)
            record = str(
                LeadersRecord(
                    see.planner_record(
                        self.world.planner_memory, self.world.layout("planner"), now=self.world.schedule
                    ),
                    own,
                )
            )
            who = f"{_identity(self.world, self.agent)} You were the elected leader, who sets the tax rates."
        self._enter_year()
        return {
            "objective": shown["objective"],
            "tax_schedule": str(self.world.schedule),
            "last_year": shown["economy"],
            "identity": who,
            "record": record,
            "phase": shown["phase"],
            "this_year": str(PlannersYear(self._decision(), self._economy())),
        }

    def _decision(self) -> RatesDecision:
        """The planner's decision of the year."""
        changes = self.row["rate_changes"]
        if changes is None or self.row["planner_fallback"]:
            return RatesDecision(None, unusable=changes is not None)
        query = "SELECT rate_changes FROM platforms WHERE run_id = ? AND year = ? AND candidate = ?"
        promised = self.store.one(query, [self.run_id, self.year, self.agent])
        return RatesDecision(RateChanges.of(changes), RateChanges.of(promised) if promised else None)

    def _economy(self) -> EconomySummary:
        counts = "adjusted_utility" if self.world.satisfaction_counts else "utility"
        query = f"""SELECT income, {counts} AS utility, labor, satisfied FROM decisions
                    WHERE run_id = ? AND year = ? ORDER BY agent"""
        rows = self.store.rows(query, [self.run_id, self.year])
        column = {name: np.array([row[name] for row in rows]) for name in ("income", "utility", "labor")}
        verdicts = [row["satisfied"] for row in rows if row["satisfied"] is not None]
        return see.economy_summary(
            self.world.schedule,
            income=column["income"],
            utility=column["utility"],
            hours=column["labor"],
            rebate=self.row["rebate"],
            welfare=self.row["welfare"],
            satisfied=(sum(verdicts), len(verdicts)) if verdicts else None,
            spending=self.config.spending,
        )

    def answering(self, llm: str | None, base_url: str | None) -> tuple[RunConfig, str]:
        """The settings and the name of the answering model: the run's, or `llm` at its own provider or `base_url`."""
        server = base_url or (self.config.base_url if llm is None else None)
        return _plain(self.config, server), llm or self.config.role_llm.get(self.role, self.llm)

    async def ask(self, question: str, llm_agents: LLMAgents, *, answer: Any = None) -> Answer:
        """Ask the question; `answer`: the type of the answer, if it is not words.

        ModelError in one line if there is no answer; all attempts are stored in any case.
        """
        inputs = self.inputs(question)
        llm_agents.enter(self.run_id, self.store.post)
        query = f"SELECT min(call_id) FROM lm_calls WHERE run_id = ? AND signature = '{INTERVIEW}'"
        number = next_interview(self.run_id, self.store.one(query, [self.run_id]))
        asked = Question(INTERVIEW, inputs, self.year, self.agent)
        given = await llm_agents.interview(asked, number=number, answer=answer)
        if given.prediction is None:
            raise ModelError(f"{llm_agents.shown_model} gave no answer ({llm_agents.hearing.failure()})")
        return given


def _year(year: int | None, run_id: int, years: int) -> int:
    """The requested year, or the last one."""
    if not years:
        raise UsageError(f"run {run_id} has no complete year yet; there is nothing to ask about")
    if year is not None and not 0 <= year < years:
        raise UsageError(f"--year {year}: run {run_id} has years 0 to {years - 1}")
    return years - 1 if year is None else year


def _identity(world: World, agent: int) -> str:
    return str(world.identity(agent))


def _plain(config: RunConfig, base_url: Any) -> RunConfig:
    """The run's settings for its model, without its strategies, programs and caps."""
    return replace(
        config,
        base_url=base_url,
        prompt_algo="io",
        strategy={},
        program={},
        role_llm={},
        examples=None,
        ray_address=None,
        log_dir=RunConfig().log_dir,
        max_cost_usd=None,
        max_tokens=None,
    )
