"""Whole economies in memory: who is asked, with which random draws, and the resulting welfare."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
import numpy as np
import pytest
from dspy import lm15
from dspy.teleprompt import BootstrapFewShot
from support.village import CallRecorder, Scripted, scripted_lm

from evals.datasets.episodes import LONGEST_TAX_YEAR, MOST_YEARS, economies
from evals.datasets.simulated import Dataset
from evals.metrics.registry import EPISODE, METRICS, as_dspy, metric
from evals.optimize.candidates import question_of
from pipeline.agents.agents import QUIET
from pipeline.agents.roles import PROGRAMS
from pipeline.agents.rule_agents import RuleAgents
from pipeline.config import build
from pipeline.economy.utility import ECONOMIES, best_response
from pipeline.economy.welfare import WELFARE
from pipeline.economy.yardsticks import People, yardsticks
from pipeline.errors import ModelError
from pipeline.simulation.world import create
from pipeline.stackelberg import Stackelberg, rules_but
from programs.adapters.repairing import ADAPTERS
from programs.calls.context import CallContext, call_context, entered
from programs.calls.protocols import Attempt
from programs.engines.rules.engine import RulesEngine
from programs.models import Model, connect
from programs.strategies.registry import strategy

ROLES = ("worker", "planner", "voter", "persona")
SHORT = {"max_timesteps": 4, "two_timescale": 2, "num_agents": 3}


def data(role: str, count: int = 1, **settings: Any) -> Dataset:
    return economies([role], build({**SHORT, **settings}), sizes=(count, 0, 0), seed=2)


def rollout(role: str, brackets: int = 3) -> Stackelberg:
    return rules_but(**{role: PROGRAMS[role](strategy("io"), brackets)})


def play(
    program: Stackelberg,
    example: dspy.Example,
    lm: dspy.LM | None = None,
    lineage: CallRecorder | None = None,
    **context: Any,
) -> dspy.Prediction:
    recorded = CallContext() if lineage is None else CallContext.recorded_by(lineage)
    with entered(recorded, lm=lm or connect(Model("rules")), adapter=ADAPTERS["chat"](), **{**QUIET, **context}):
        return program(**example.inputs())


def score(example: dspy.Example, played: dspy.Prediction) -> float:
    return METRICS["episode"].judge(example, played).score


class Fixed(dspy.Module):
    """A program that always answers the same, without a model."""

    def __init__(self, **answer: Any) -> None:
        super().__init__()
        self.answer = answer

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        return dspy.Prediction(**self.answer)


class Everywhere(CallRecorder):
    """A lineage of many threads and tasks: keeps about whom each attempt was."""

    def attempted(self, attempt: Attempt) -> None:
        super().attempted(attempt)
        self.outcomes.append(call_context().asked)

    def parsed(self, fields: dict[str, Any]) -> None: ...


class Counting:
    """The rules as an engine that keeps what it was asked."""

    supports_response_schema = False

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def complete(self, request: lm15.Request) -> lm15.Response:
        self.prompts.append(str(request.system))
        return RulesEngine().complete(request)


ASKED = {
    "worker": {"choose how many hours": 12},
    "planner": {"set income tax": 2},
    "persona": {"describe this person": 3},
    "voter": {"decide whether you stand": 6, "vote, as the ballot asks": None, "workers answer your rates": None},
}


@pytest.mark.parametrize("role", ROLES)
def test_the_model_is_asked_for_the_role_on_trial_and_for_no_other(role: str) -> None:
    engine = Counting()
    played = play(rollout(role), data(role).train[0], scripted_lm(engine))
    said = [prompt.lower() for prompt in engine.prompts]
    for words, times in ASKED[role].items():
        count = sum(words in prompt for prompt in said)
        assert count == times if times is not None else count > 0
    assert played.asked == len(said) == sum(any(words in prompt for words in ASKED[role]) for prompt in said)
    assert played.failed == 0


@pytest.mark.parametrize("role", ROLES)
def test_the_same_economy_is_played_the_same_way_however_it_is_called(role: str) -> None:
    example, program = data(role).train[0], rollout(role)
    first, again = play(program, example), play(program, example)

    async def awaited() -> dspy.Prediction:
        with dspy.context(lm=connect(Model("rules")), adapter=ADAPTERS["chat"](), **QUIET):
            return await program.acall(**example.inputs())

    assert first.toDict() == again.toDict() == asyncio.run(awaited()).toDict()


def test_all_programs_face_the_same_people_and_random_draws() -> None:
    example = data("worker").train[0]
    lazy, busy = (play(rules_but(worker=Fixed(labor=hours)), example) for hours in (20, 45))
    assert lazy.people == busy.people
    assert lazy.mean_hours == 20
    assert busy.mean_hours == 45
    rule = RuleAgents(7)
    assert rule.rng("ChooseLabor", 3, 1).random() == RuleAgents(7).rng("ChooseLabor", 3, 1).random()
    draws = [rule.rng(q, y, a).random() for q in ("CastVote", "ChooseLabor") for y in (0, 1) for a in (None, 0, 1)]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("more", [{}, {"spending": 3_000}, {"utility": "crra", "gamma": 1, "spending": 3_000}])
def test_a_planner_that_changes_nothing_gains_nothing(more: dict[str, Any]) -> None:
    played = play(rules_but(planner=Fixed(rate_changes=(0, 0, 0))), data("planner", num_agents=12, **more).train[0])
    assert played.planner_share == pytest.approx(0, abs=1e-12)
    assert played.story.startswith("50/50/50 until year 3")


def test_the_share_is_that_of_the_last_schedule() -> None:
    example = data("planner", num_agents=12).train[0]
    played = play(rules_but(planner=Fixed(rate_changes=(10, 0, -10))), example)
    world = create(build({**example.settings, "seed": example.seed}))
    last = world.schedule.changed((20, 0, -20))
    people = People(**played.people)
    measure = yardsticks(people)
    reached = people.welfare_under(last)
    assert played.planner_share == pytest.approx((reached - measure.start) / (measure.oracle - measure.start))
    assert "70/50/30 until year 3" in played.story


def test_best_responding_workers_reach_the_welfare_of_the_schedule() -> None:
    class Best(dspy.Module):
        """Knows what nobody is told."""

        async def aforward(self, **inputs: Any) -> dspy.Prediction:
            wage = float(inputs["identity"].split("$")[1].split(" ")[0])
            best = best_response(ECONOMIES["weekly"], create(build(SHORT)).schedule, wage, SHORT["num_agents"])
            return dspy.Prediction(labor=round(float(best)))

    example = data("worker", planner_type="UNIFORM").train[0]
    played = play(rules_but(worker=Best()), example)
    people = People(**played.people)
    assert played.regret_share < 0.001
    assert played.mean_hours == pytest.approx(played.best_hours, abs=0.5)
    assert played.welfares["inverse_income"] == pytest.approx(yardsticks(people).start, rel=0.01)
    idle = play(rules_but(worker=Fixed(labor=0)), example)
    assert score(example, idle) == 0
    assert idle.welfares["utilitarian"] == 0
    slaves = play(rules_but(worker=Fixed(labor=100)), example)
    assert score(example, slaves) < score(example, played)


def test_unusable_replies_count_as_failures_and_the_economy_continues() -> None:
    example = data("worker", planner_type="UNIFORM").train[0]
    played = play(rollout("worker"), example, scripted_lm(Scripted(["hm"] * 100)))
    assert played.failed == played.asked == 12
    assert played.mean_hours == 40, "they keep the hours they had"
    assert "12 of 12 questions had no usable answer" in METRICS["episode"].judge(example, played).feedback


def test_a_model_that_cannot_be_used_ends_the_episode() -> None:
    refused = Scripted([lm15.AuthError("no such key")] * 20)
    with pytest.raises(ModelError, match="the key was refused"):
        play(rollout("planner"), data("planner").train[0], scripted_lm(refused))


def test_a_program_may_be_the_module_of_its_question_alone() -> None:
    example = data("worker", scenario="bounded").train[0]
    module = PROGRAMS["worker"](strategy("io"), 3).choose_labor
    alone, whole = play(rules_but(worker=module), example), play(rollout("worker"), example)
    assert (alone.asked, whole.asked) == (24, 24), "the other question of its role is asked in io"
    one = question_of("ChooseLabor", PROGRAMS["worker"](strategy("io"), 3))
    assert play(rules_but(worker=one), example).asked == 12, "rules judge the tax policy for a program that cannot"


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("role", ROLES)
def test_episodes_are_evaluated_in_threads_with_every_call_in_the_lineage(role: str) -> None:
    lineage = Everywhere()
    examples, program = data(role, 3).train, rollout(role)
    context = CallContext.recorded_by(lineage)
    with entered(context, lm=connect(Model("rules")), adapter=ADAPTERS["chat"](), **QUIET):
        result = dspy.Evaluate(devset=examples, metric=as_dspy(METRICS["episode"]), num_threads=3)(program)
    assert len(lineage.attempts) == sum(prediction.asked for _, prediction, _ in result.results)
    assert all(set(asking) == {"signature", "year", "agent"} for asking in lineage.outcomes)
    alone = [METRICS["episode"].judge(e, play(program, e, lineage=lineage)).score for e in examples]
    assert [score for *_, score in result.results] == alone


@pytest.mark.parametrize(("role", "predictor"), [("worker", "choose_labor"), ("voter", "cast_vote")])
def test_a_good_episode_leaves_demonstrations_even_of_votes(role: str, predictor: str) -> None:
    """Ballots are asked by copies, and yet the trace has the program's own predictors."""
    keep_all = as_dspy(METRICS["episode"], threshold=-1)
    optimizer = BootstrapFewShot(metric=keep_all, max_labeled_demos=0, max_bootstrapped_demos=2)
    with dspy.context(lm=connect(Model("rules")), adapter=ADAPTERS["chat"](), **{**QUIET, "trace": []}):
        tuned = optimizer.compile(rollout(role), trainset=data(role, 2).train)
    demos = dict(tuned.named_predictors())[f"{role}.{predictor}"].demos
    assert demos
    assert all("record" in demo and demo.get("labor", demo.get("vote")) is not None for demo in demos)


@pytest.mark.parametrize("name", WELFARE)
def test_an_episode_is_judged_by_any_welfare_function(name: str) -> None:
    example = data("planner").train[0]
    played = play(rollout("planner"), example)
    score, feedback = metric("episode", welfare=name).judge(example, played)
    assert 0 <= score <= 1
    assert f"Welfare ({name}) was" in feedback
    if name == "inverse_income":
        assert score == METRICS["episode"].judge(example, played).score


def test_episode_economies_are_short_and_have_their_own_seeds() -> None:
    long = build({"max_timesteps": 1000, "two_timescale": 25, "welfare": "rawlsian", "elasticity": (0.1, 0.2, 0.3)})
    made = economies(["worker"], long, sizes=(3, 2, 1), seed=0)
    assert made.question == EPISODE == METRICS["episode"].question
    everything = made.train + made.dev + made.test
    assert len({example.seed for example in everything}) == 6
    for example in everything:
        config = build({**example.settings, "seed": example.seed})
        assert (config.max_timesteps, config.two_timescale) == (MOST_YEARS, LONGEST_TAX_YEAR)
        assert (config.welfare, config.elasticity) == ("rawlsian", (0.1, 0.2, 0.3))
        assert set(example.inputs().keys()) == {"seed", "settings"}
    assert economies(["worker"], long, sizes=(3, 2, 1), seed=0).hash == made.hash
    assert economies(["worker"], long, sizes=(3, 2, 1), seed=1).hash != made.hash


@pytest.mark.parametrize(
    ("role", "scenario", "becomes"),
    [("voter", "rational", "democratic"), ("planner", "democratic", "bounded"), ("persona", "rational", "bounded")],
)
def test_the_game_is_one_in_which_the_role_is_asked(role: str, scenario: str, becomes: str) -> None:
    (example,) = economies([role], build({"scenario": scenario}), sizes=(1, 0, 0), seed=0).train
    assert example.settings["scenario"] == becomes


def test_welfare_rises_as_workers_come_nearer_to_their_best() -> None:
    example = data("worker", planner_type="UNIFORM").train[0]
    played = [play(rules_but(worker=Fixed(labor=hours)), example) for hours in (0, 4, 8, 12)]
    for key in ("inverse_income", "utilitarian"):
        assert sorted(p.welfares[key] for p in played) == [p.welfares[key] for p in played]
    assert np.all(np.diff([score(example, p) for p in played]) > 0)
