"""The JSON that DSPy's own `save` writes is a program file where it fits the questions of a role, and stays data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from support.command_line import CommandLine
from support.models.tuned_program import DEMO, DEMOS, TUNED, program_of, tuned
from support.village import inputs_of

import llm_economist as le
from pipeline.agents.roles import MAIN_QUESTION, PROGRAMS, QUESTIONS
from programs.roles import saved_program
from programs.roles.dspy_state import fitting_strategy, predictors_in
from programs.strategies.registry import STRATEGIES
from signatures.worker import ChooseLabor, JudgeTaxPolicy


def saved_by_dspy(module: dspy.Module, path: str = "worker.json") -> str:
    module.save(path)
    return path


def taught(module: dspy.Module, **more: Any) -> dspy.Module:
    for predictor in module.predictors():
        predictor.signature = predictor.signature.with_instructions(TUNED)
        predictor.demos = [dspy.Example(DEMO, **more)]
    return module


def changed(path: str, **values: Any) -> str:
    """The file with other values at the top."""
    Path(path).write_text(json.dumps({**json.loads(Path(path).read_text()), **values}))
    return path


def refusal(path: str, *, role: str = "worker", strategy: str = "io") -> str:
    program = program_of(role, strategy)
    before = {name: predictor.dump_state() for name, predictor in program.named_predictors()}
    with pytest.raises(ValueError, match=rf"^[^\n]*{path}[^\n]*$") as refused:
        saved_program.load(program, path, role=role, strategy=strategy)
    assert {name: predictor.dump_state() for name, predictor in program.named_predictors()} == before
    return str(refused.value)


# -- what fits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("role", PROGRAMS)
@pytest.mark.parametrize("whole", [True, False], ids=["program", "question"])
def test_what_dspy_saved_is_what_is_loaded(role: str, strategy: str, whole: bool) -> None:
    program, loaded = tuned(role, strategy), program_of(role, strategy)
    attribute = QUESTIONS[MAIN_QUESTION[role]][1]
    predictor = getattr(program, attribute).predictors()[0]
    predictor.signature = predictor.signature.with_instructions(TUNED)
    saved_program.load(
        loaded, saved_by_dspy(program if whole else getattr(program, attribute)), role=role, strategy=strategy
    )
    for (name, here), there in zip(loaded.named_predictors(), program.predictors(), strict=True):
        if whole or name.startswith(attribute):
            assert here.signature.instructions == there.signature.instructions
            assert [dict(demo) for demo in here.demos] == [dict(demo) for demo in there.demos]
    assert getattr(loaded, attribute).predictors()[0].signature.instructions == TUNED


def test_loading_a_file_changes_only_the_question_it_holds() -> None:
    loaded = program_of()
    saved_program.load(loaded, saved_by_dspy(taught(dspy.Predict(ChooseLabor))), role="worker", strategy="io")
    assert loaded.choose_labor.signature.instructions == TUNED
    assert loaded.judge_tax_policy.signature.instructions == JudgeTaxPolicy.instructions
    assert loaded.judge_tax_policy.demos == []


def test_a_planner_saved_for_three_brackets_answers_for_seven() -> None:
    three = program_of("planner").set_tax_rates
    three.signature = three.signature.with_instructions(TUNED)
    seven = program_of("planner", brackets=7)
    saved_program.load(seven, saved_by_dspy(three), role="planner", strategy="io")
    assert seven.set_tax_rates.signature.instructions == TUNED


@pytest.mark.parametrize("role", PROGRAMS)
def test_of_a_whole_game_each_role_takes_its_part(role: str) -> None:
    game = le.Stackelberg(worker="cot", planner="cot", voter="cot", persona="cot")
    main = getattr(getattr(game, role), QUESTIONS[MAIN_QUESTION[role]][1])
    main.predict.signature = main.predict.signature.with_instructions(TUNED)
    loaded = program_of(role, "cot")
    saved_program.load(loaded, saved_by_dspy(game, "game.json"), role=role, strategy="cot")
    texts = {name: predictor.signature.instructions for name, predictor in loaded.named_predictors()}
    ours = getattr(game, role)
    assert texts == {name: predictor.signature.instructions for name, predictor in ours.named_predictors()}
    assert TUNED in texts.values()


def test_fields_that_an_optimizer_adds_to_a_demonstration_are_left_out() -> None:
    """Bootstrapped demonstrations say that they are, and labelled ones have what no prompt shows."""
    module = taught(dspy.Predict(ChooseLabor), augmented=True, wage=12.5)
    module.demos.append(dspy.Example(schedule="of a whole economy"))
    loaded = program_of()
    saved_program.load(loaded, saved_by_dspy(module), role="worker", strategy="io")
    assert [dict(demo) for demo in loaded.choose_labor.demos] == [DEMO]


def test_our_format_holds_a_single_question_too() -> None:
    saved_program.save(taught(dspy.Predict(ChooseLabor)), "worker.json", role="worker", strategy="io")
    loaded = program_of()
    saved_program.load(loaded, "worker.json", role="worker", strategy="io")
    assert loaded.choose_labor.signature.instructions == TUNED
    assert [dict(demo) for demo in loaded.choose_labor.demos] == [DEMO]


def test_a_run_asks_with_a_file_that_dspy_wrote_and_stores_its_state(cli: CommandLine) -> None:
    saved_by_dspy(taught(dspy.ChainOfThought(ChooseLabor)))
    args = ("--llm", "rules", "--num-agents", "2", "--max-timesteps", "2", "--two-timescale", "2", "--db", "a.duckdb")
    ran = cli("run", *args, "--program", "worker=worker.json", "--strategy", "worker=cot")
    assert ran.code == 0, ran.err
    run = le.open("a.duckdb").run(1)
    ((asked,),) = (
        run.calls.filter("role = 'worker'").aggregate("bool_and(prompt LIKE '%Think of your family%')").fetchall()
    )
    assert asked
    ((state,),) = run.sql("SELECT state FROM programs WHERE run_id = $run_id AND role = 'worker'").fetchall()
    assert json.loads(state)["predict"]["instruction"] == TUNED


@pytest.mark.slow
def test_a_comparison_knows_the_strategy_of_a_file_that_dspy_wrote() -> None:
    saved_by_dspy(taught(dspy.ChainOfThought(ChooseLabor)))
    small = {"num_agents": 2, "max_timesteps": 2, "two_timescale": 2, "llm": "rules", "db": "a.duckdb"}
    found = le.compare("worker=cot", "worker=worker.json", seeds=2, **small)
    assert found.evaluations.fetchall()
    Path("planner.json").write_text(Path("worker.json").read_text())
    with pytest.raises(le.UsageError, match=r"planner\.json.*fits no question of planner"):
        le.compare("planner=io", "planner=planner.json", seeds=2, **small)


@pytest.mark.parametrize("strategy", ["io", "cot", "reflect"])
@pytest.mark.parametrize("role", PROGRAMS)
def test_the_strategy_of_a_file_is_recognized(role: str, strategy: str) -> None:
    record = json.loads(Path(saved_by_dspy(program_of(role, strategy))).read_text())
    saved = predictors_in(record)
    assert saved is not None
    assert fitting_strategy(saved, PROGRAMS[role], role) == strategy
    others = [other for other in PROGRAMS if other != role]
    assert [fitting_strategy(saved, PROGRAMS[other], other) for other in others] == [None] * len(others)


# -- what does not fit ------------------------------------------------------------------------------------------------


def test_a_file_that_fits_another_strategy_says_which() -> None:
    path = saved_by_dspy(taught(dspy.ChainOfThought(ChooseLabor)))
    assert "add --strategy worker=cot" in refusal(path)
    assert "add --strategy worker=io" in refusal(saved_by_dspy(dspy.Predict(ChooseLabor)), strategy="cot")


def test_a_file_of_another_question_says_its_fields_and_those_expected() -> None:
    said = refusal(saved_by_dspy(dspy.Predict("question -> answer"), "other.json"))
    assert (
        "predictor 'self' has the fields Question, Answer; expected a module over one question of role worker" in said
    )
    assert "choose_labor with the fields Objective, Tax Schedule," in said
    assert "expected a module over one question of role planner" in refusal(
        saved_by_dspy(dspy.Predict(ChooseLabor)), role="planner"
    )


def test_fields_that_were_renamed_or_turned_around_are_recognized() -> None:
    """DSPy itself would take them by position."""
    path = saved_by_dspy(taught(dspy.Predict(ChooseLabor)))
    signature = json.loads(Path(path).read_text())["signature"]
    fields = signature["fields"]
    for other in ([fields[1], fields[0], *fields[2:]], fields[1:], [{**fields[0], "prefix": "Goal:"}, *fields[1:]]):
        assert "does not fit" in refusal(changed(path, signature={**signature, "fields": other}))
    changed(path, signature={**signature, "fields": fields})
    saved_program.load(program_of(), path, role="worker", strategy="io")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"demos": [{**DEMO, "labor": 140}]}, "labor 140 does not fit"),
        ({"demos": ["a demo"]}, "expected an object"),
        ({"demos": {}}, "no usable instruction or demos"),
        ({"signature": {"fields": []}}, "has the fields none"),
        ({"signature": {"fields": [{"prefix": 3}]}}, "not of format"),
        ({"signature": {"fields": 3}}, "not of format"),
        ({"signature": []}, "not of format"),
    ],
    ids=str,
)
def test_a_broken_file_is_refused(values: dict[str, Any], said: str) -> None:
    assert said in refusal(changed(saved_by_dspy(taught(dspy.Predict(ChooseLabor))), **values))


@pytest.mark.parametrize("instructions", [None, 3, ["text"]], ids=str)
def test_an_instruction_that_is_no_text_is_refused(instructions: Any) -> None:
    path = saved_by_dspy(dspy.Predict(ChooseLabor))
    signature = {**json.loads(Path(path).read_text())["signature"], "instructions": instructions}
    assert "no usable instruction" in refusal(changed(path, signature=signature))


def test_no_model_and_no_address_get_in_with_a_file() -> None:
    module = dspy.Predict(ChooseLabor)
    module.set_lm(dspy.LM("openai/gpt-4o", api_base="http://127.0.0.1:9/v1"))
    path = changed(
        saved_by_dspy(module), lm={"model": "openai/x", "api_base": "http://a.example", "_class": "os.system"}
    )
    loaded = program_of()
    saved_program.load(loaded, path, role="worker", strategy="io")
    assert loaded.choose_labor.lm is None
    assert "a.example" not in json.dumps(saved_program.read(path))


def test_pickled_state_is_refused() -> None:
    dspy.Predict(ChooseLabor).save("worker.pkl")
    assert "pickles are never loaded" in refusal("worker.pkl")


def test_a_file_that_dspy_wrote_is_not_overwritten_by_optimize(cli: CommandLine) -> None:
    path = saved_by_dspy(dspy.Predict(ChooseLabor))
    ran = cli("optimize", "worker", "--llm", "rules", "--optimizer", "labeled", "-o", path)
    assert (ran.code, "is not a program file" in ran.err) == (2, True)


def test_a_prompt_is_the_same_with_either_file() -> None:
    module = taught(dspy.ChainOfThought(ChooseLabor))
    le.save_program(module, "ours.json")
    shown = []
    for path in ("ours.json", saved_by_dspy(module, "dspys.json")):
        program = program_of("worker", "cot")
        saved_program.load(program, path, role="worker", strategy="cot")
        predict = program.choose_labor.predict
        shown.append(dspy.ChatAdapter().format(predict.signature, predict.demos, inputs_of("ChooseLabor")))
    assert shown[0] == shown[1]


@pytest.mark.parametrize("role", DEMOS)
def test_demonstrations_of_every_role_keep_their_types(role: str) -> None:
    loaded = program_of(role)
    saved_program.load(loaded, saved_by_dspy(tuned(role)), role=role, strategy="io")
    assert [dict(demo) for demo in loaded.predictors()[0].demos] == [DEMOS[role]]
