"""The game as one DSPy module: what DSPy does with modules works on the whole game."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import pickle
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from support.command_line import CommandLine
from support.models.pupil import Pupil
from support.village import Scripted, scripted_lm

import llm_economist as le
from pipeline.config import build
from pipeline.economy.yardsticks import People
from pipeline.simulation.world import create
from programs.models import Model, connect
from programs.roles import saved_program
from signatures.worker import ChooseLabor

SMALL: dict[str, Any] = {"num_agents": 3, "max_timesteps": 4, "two_timescale": 2}
NAMES = {
    *("worker.choose_labor", "worker.judge_tax_policy", "planner.set_tax_rates", "persona.write_persona"),
    *("voter.stand_for_office", "voter.cast_vote", "voter.govern_as_leader"),
}


@pytest.fixture(autouse=True)
def rules_answer() -> Iterator[None]:
    with dspy.context(lm=connect(Model("rules"))):
        yield


def game(**other: Any) -> le.Stackelberg:
    return le.Stackelberg(**{**SMALL, **other})


def economies(n: int = 8, **other: Any) -> list[dspy.Example]:
    data = le.dataset("economy", n=n, **{**SMALL, **other})
    return data.train + data.dev + data.test


def same(one: dspy.Prediction, other: dspy.Prediction) -> bool:
    return one.toDict() == other.toDict()


# -- what it plays --------------------------------------------------------------------------------------------------


def test_the_prediction_is_that_of_the_people_and_the_last_schedule() -> None:
    played = game(welfare="utilitarian", num_agents=12)(seed=3)
    world = create(build({**SMALL, "num_agents": 12, "seed": 3, "welfare": "utilitarian", "llm": "rules"}))
    people = People(**played.people)
    assert people.wages == tuple(world.population.wage)
    assert played.story.split("; ")[-1].startswith("/".join(f"{rate:g}" for rate in played.schedule.rates))
    assert played.planner_share is None or played.planner_share <= 1 + 1e-9
    assert played.mean_regret > 0
    assert played.satisfied is None
    assert (played.asked, played.failed) == (12 * 4 + 2, 0)


def test_it_plays_the_run_that_the_command_plays(cli: CommandLine) -> None:
    """With a fixed law and fixed hours nothing is drawn."""
    args = ("--llm", "rules", "--planner-type", "UNIFORM", "--worker-type", "FIXED", "--seed", "5")
    assert cli("run", *args, "--num-agents", "3", "--max-timesteps", "4", "--two-timescale", "2").code == 0
    stored = le.open("economist.duckdb").run(1)
    hours = [row[0] for row in stored.sql("SELECT labor FROM decisions WHERE year = 0 ORDER BY agent").fetchall()]

    class Habit(dspy.Module):
        """Each worker's fixed hours, by its wage."""

        async def aforward(self, **inputs: Any) -> dspy.Prediction:
            wages = create(build({**SMALL, "seed": 5})).population.wage
            agent = next(i for i, wage in enumerate(wages) if f"${wage:.2f} an hour" in inputs["identity"])
            return dspy.Prediction(labor=hours[agent])

    played = game(worker=Habit(), planner_type="UNIFORM")(seed=5)
    assert played.welfare == pytest.approx(stored.welfare)
    assert played.mean_regret == pytest.approx(stored.regret)


@pytest.mark.parametrize("scenario", ["rational", "bounded", "democratic"])
def test_the_same_seed_plays_the_same_game_in_a_script_a_loop_and_a_thread(scenario: str) -> None:
    program = game(scenario=scenario)
    first = program(seed=3)

    async def awaited() -> dspy.Prediction:
        return await program.acall(seed=3)

    async def called_in_a_loop() -> dspy.Prediction:
        return program(seed=3)

    assert same(first, asyncio.run(awaited()))
    assert same(first, asyncio.run(called_in_a_loop()))
    assert not same(first, program(seed=4))


def test_settings_of_a_call_replace_those_of_the_game() -> None:
    assert len(game()(seed=3, num_agents=5).people["wages"]) == 5
    assert same(game()(seed=3, settings={"num_agents": 5}), le.Stackelberg(**{**SMALL, "num_agents": 5})(seed=3))


@pytest.mark.parametrize(
    "part", ["cot", dspy.ChainOfThought, dspy.ChainOfThought(ChooseLabor)], ids=["name", "class", "module"]
)
def test_a_role_takes_the_name_of_a_strategy_a_class_or_a_module(part: Any) -> None:
    made = game(worker=part, planner="rules", voter="rules", persona="rules")
    assert {name for name, _ in made.named_predictors()} >= {"worker.choose_labor.predict"}
    assert made(seed=1).failed == 0


def test_rules_answer_for_a_role_without_a_predictor_or_a_model() -> None:
    made = game(worker="rules", planner="rules", voter="rules", persona="rules", scenario="bounded")
    with dspy.context(lm=None):
        played = made(seed=1)
    assert (made.named_predictors(), played.asked) == ([], 0)


def test_a_module_with_only_a_synchronous_forward_answers_in_a_thread() -> None:
    class Plain(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = dspy.Predict(ChooseLabor)

        def forward(self, **inputs: Any) -> dspy.Prediction:
            return self.ask(**inputs)

    one, other = game(worker=Plain())(seed=1), game()(seed=1)
    assert same(one, other)


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: game(worker="cto"), "worker: unknown strategy 'cto'"),
        (lambda: game(worker=3), "worker=3: expected the name of a strategy"),
        (lambda: game(worker=str), "strategy str made a str"),
        (
            lambda: game(worker=dspy.Predict("a -> b")),
            "worker=Predict(a -> b): expected a module that answers ChooseLa",
        ),
        (lambda: game(worker=dspy.Predict("a -> labor")), "expected a module that answers ChooseLabor"),
        (lambda: game(planner=dspy.ChainOfThought(ChooseLabor)), "expected a module that answers SetTaxRates"),
        (lambda: game(num_agents=0), "--num-agents 0"),
        (lambda: game(llm="rules"), "llm='rules' has no meaning for Stackelberg"),
        (lambda: game(no_such_setting=1), "no_such_setting"),
        (lambda: game()(seed=1, bracket_setting="flat"), "make one with bracket_setting='flat'"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(made: Any, words: str) -> None:
    with pytest.raises(le.UsageError, match=r"^[^\n]*$") as refused:
        made()
    assert words in str(refused.value)


def test_without_a_model_one_line_says_how_to_give_one() -> None:
    with dspy.context(lm=None), pytest.raises(le.UsageError, match=r"dspy\.configure\(lm=...\)"):
        game()(seed=1)


def test_a_file_of_a_game_with_other_modules_is_refused_in_one_line(tmp_path: Path) -> None:
    file = str(tmp_path / "game.json")
    game(worker="cot").save(file)
    with pytest.raises(le.UsageError, match=r"^this game has the predictor [^\n]*, and the saved one has [^\n]*$"):
        game(worker="io").load(file)


def test_pickling_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"save\('game.json'\)"):
        pickle.dumps(game())
    with pytest.raises(Exception, match=r"save\('game.json'\)"):
        game().save(str(tmp_path / "whole"), save_program=True)


# -- what DSPy does with a module -----------------------------------------------------------------------------------


def test_all_roles_are_named_predictors() -> None:
    assert {name for name, _ in game().named_predictors()} == NAMES


@pytest.mark.parametrize("copied", [copy.deepcopy, le.Stackelberg.deepcopy], ids=["deepcopy", "method"])
def test_a_copy_is_tuned_apart(copied: Any) -> None:
    one = game()
    other = copied(one)
    other.worker.choose_labor.signature = ChooseLabor.with_instructions("Rest.")
    assert one.worker.choose_labor.signature.instructions != "Rest."
    assert same(one(seed=1), copied(one)(seed=1))


def test_it_is_saved_as_json_and_loaded() -> None:
    tuned = game()
    tuned.worker.choose_labor.signature = tuned.worker.choose_labor.signature.with_instructions("Work well.")
    tuned.save("game.json")
    assert json.loads(Path("game.json").read_text())["worker.choose_labor"]
    loaded = game()
    loaded.load("game.json")
    assert loaded.worker.choose_labor.signature.instructions == "Work well."
    assert same(loaded(seed=1), tuned(seed=1))


def test_each_predictor_can_have_its_own_model() -> None:
    planner, others = Scripted(['{"rate_changes": [0, 0, 0]}'] * 9), Pupil()
    program = game()
    program.planner.set_lm(scripted_lm(planner))
    with dspy.context(lm=scripted_lm(others), adapter=dspy.JSONAdapter()):
        played = program(seed=1)
    assert len(planner.requests) == 2
    assert len(others.requests) == 12
    assert played.schedule.rates == (50, 50, 50)


@pytest.mark.slow
def test_evaluate_with_eight_threads_gives_what_one_thread_gives() -> None:
    program, metric = game(scenario="bounded"), le.metric("episode")
    runs = [
        dspy.Evaluate(devset=economies(), metric=metric, num_threads=threads, display_progress=False)(program)
        for threads in (1, 8)
    ]
    first, second = ([(p.toDict(), score) for _, p, score in run.results] for run in runs)
    assert first == second
    assert 0 < runs[0].score < 100


def test_parallel_plays_what_single_calls_play() -> None:
    program = game()
    together = dspy.Parallel(num_threads=4, disable_progress_bar=True)([(program, {"seed": seed}) for seed in range(4)])
    assert all(same(played, program(seed=seed)) for seed, played in enumerate(together))


def test_callbacks_history_and_inspect_history_see_every_question() -> None:
    class Seen(BaseCallback):
        modules = 0
        calls = 0

        def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            self.modules += isinstance(instance, dspy.Predict)

        def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            self.calls += 1

    seen, lm, program = Seen(), connect(Model("rules")), game()
    with dspy.context(lm=lm, callbacks=[seen]):
        played = program(seed=1)
    assert seen.modules == seen.calls == played.asked == len(lm.history) == len(program.history)
    told = io.StringIO()
    with redirect_stdout(told):
        program.inspect_history(n=1)
    assert "rate_changes" in told.getvalue() or "labor" in told.getvalue()


def test_bootstrap_few_shot_gives_demonstrations_to_every_role_that_was_asked() -> None:
    keep = le.metric("episode")
    optimizer = dspy.BootstrapFewShot(metric=lambda *args: keep(*args[:2]) >= 0, max_bootstrapped_demos=2)
    tuned = optimizer.compile(game(), trainset=economies(2))
    demos = {name: len(predictor.demos) for name, predictor in tuned.named_predictors()}
    assert demos["worker.choose_labor"]
    assert demos["planner.set_tax_rates"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GEPA", "MIPROv2", "SIMBA"])
def test_optimizers_tune_the_whole_game(name: str) -> None:
    metric, lm = le.metric("episode"), scripted_lm(Pupil())
    program = game(planner="rules", voter="rules", persona="rules")
    data = economies(8, num_agents=2, max_timesteps=2, two_timescale=2)
    with dspy.context(lm=lm):
        if name == "GEPA":
            optimizer = dspy.GEPA(metric=metric, max_metric_calls=30, reflection_lm=lm, seed=0)
            tuned = optimizer.compile(program, trainset=data[:4], valset=data[4:])
        elif name == "MIPROv2":
            optimizer = dspy.MIPROv2(metric=metric, prompt_model=lm, task_model=lm, auto=None, num_candidates=3)
            tuned = optimizer.compile(program, trainset=data[:4], valset=data[4:], num_trials=3, minibatch=False)
        else:
            optimizer = dspy.SIMBA(metric=metric, bsize=4, num_candidates=2, max_steps=1, prompt_model=lm)
            tuned = optimizer.compile(program, trainset=data, seed=0)
    assert isinstance(tuned, le.Stackelberg)
    with dspy.context(lm=lm):
        assert tuned(seed=1).failed == 0


def test_tuned_roles_are_saved_for_the_command_line(cli: CommandLine) -> None:
    tuned = game(planner="cot")
    tuned.worker.choose_labor.signature = tuned.worker.choose_labor.signature.with_instructions("Work well.")
    le.save_program(tuned.worker, "worker.json")
    le.save_program(tuned.planner, "planner.json")
    assert saved_program.read("planner.json")["strategy"] == "cot"
    args = ("--program", "worker=worker.json", "--program", "planner=planner.json", "--strategy", "planner=cot")
    ran = cli("run", *args, "--llm", "rules", "--num-agents", "3", "--max-timesteps", "2", "--two-timescale", "2")
    assert ran.code == 0, ran.err


def test_examples_of_whole_economies_are_no_demonstrations_of_a_role() -> None:
    tuned = game()
    tuned.planner.set_tax_rates.demos = [*economies(2), dspy.Example(rate_changes=[0, 10, 0], record="none")]
    le.save_program(tuned.planner, "planner.json")
    assert len(saved_program.read("planner.json")["predictors"]["set_tax_rates"]["demos"]) == 1
