"""Saved programs: what was tuned comes back, and nothing else gets in."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import dspy
import pytest
from village import ask, inputs_of

from pipeline.minds import PROGRAMS
from programs import files
from programs.strategies import STRATEGIES, strategy

TUNED = "Think of your family, then choose your hours — “honestly”."
DEMO = {"identity": "You are a worker.", "record": "no years yet", "labor": 35}


def program_of(role: str = "worker", strategy_name: str = "io", brackets: int = 3) -> dspy.Module:
    return PROGRAMS[role](strategy(strategy_name), brackets)


def tuned(role: str = "worker", strategy_name: str = "io") -> dspy.Module:
    """A program with another instruction and a demonstration in its first predictor."""
    program = program_of(role, strategy_name)
    predictor = program.predictors()[0]
    predictor.signature = predictor.signature.with_instructions(TUNED)
    predictor.demos = [dspy.Example(DEMO)]
    return program


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A worker tuned in strategy io, saved."""
    path = str(tmp_path / "worker.io.json")
    files.save(tuned(), path, role="worker", strategy="io")
    return path


def changed(path: str, **values: Any) -> str:
    """A copy of the file with other top-level values; None takes one away."""
    record = {**json.loads(Path(path).read_text()), **values}
    other = f"{path}.changed"
    Path(other).write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    return other


def refusal(path: str, *, role: str = "worker", strategy_name: str = "io") -> str:
    """What `load` says when it refuses, in one line; the program is left as it was."""
    program = program_of(role, strategy_name)
    before = {name: predictor.dump_state() for name, predictor in program.named_predictors()}
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the texts are what the tests look at)
        files.load(program, path, role=role, strategy=strategy_name)
    assert {name: predictor.dump_state() for name, predictor in program.named_predictors()} == before
    assert "\n" not in str(refused.value)
    assert path in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("strategy_name", STRATEGIES)
@pytest.mark.parametrize("role", PROGRAMS)
def test_what_was_saved_is_what_is_loaded(role: str, strategy_name: str, tmp_path: Path) -> None:
    path = str(tmp_path / f"{role}.{strategy_name}.json")
    saved, loaded = tuned(role, strategy_name), program_of(role, strategy_name)
    files.save(saved, path, role=role, strategy=strategy_name)
    files.load(loaded, path, role=role, strategy=strategy_name)
    for before, after in zip(saved.predictors(), loaded.predictors(), strict=True):
        assert after.signature.instructions == before.signature.instructions
        assert after.signature.fields.keys() == before.signature.fields.keys()
        assert [dict(demo) for demo in after.demos] == [dict(demo) for demo in before.demos]
    assert loaded.predictors()[0].signature.instructions == TUNED
    assert [dict(demo) for demo in loaded.predictors()[0].demos] == [DEMO]


def test_saving_what_was_loaded_writes_the_same_file(file: str, tmp_path: Path) -> None:
    program = program_of()
    files.load(program, file, role="worker", strategy="io")
    files.save(program, str(tmp_path / "again.json"), role="worker", strategy="io")
    assert (tmp_path / "again.json").read_bytes() == Path(file).read_bytes()


def test_a_loaded_program_keeps_its_types_and_answers(file: str) -> None:
    program = program_of()
    files.load(program, file, role="worker", strategy="io")
    assert program.choose_labor.signature.output_fields["labor"].annotation.__name__ == "Hours"
    assert 0 <= ask(program.choose_labor, inputs_of("ChooseLabor")).labor <= 100


def test_a_planner_tuned_on_three_brackets_answers_for_seven(tmp_path: Path) -> None:
    path = str(tmp_path / "planner.io.json")
    files.save(tuned("planner"), path, role="planner", strategy="io")
    seven = program_of("planner", brackets=7)
    files.load(seven, path, role="planner", strategy="io")
    assert seven.set_tax_rates.signature.instructions == TUNED
    annotation = seven.set_tax_rates.signature.output_fields["rate_changes"].annotation
    assert (
        annotation is program_of("planner", brackets=7).set_tax_rates.signature.output_fields["rate_changes"].annotation
    )


def test_a_file_is_text_that_a_person_can_review(file: str) -> None:
    record = json.loads(Path(file).read_text(encoding="ascii"))
    assert record["format"] == files.FORMAT
    assert record["fields"]["choose_labor"] == list(program_of().choose_labor.signature.fields)
    assert record["state"]["choose_labor"]["signature"]["instructions"] == TUNED


def test_no_model_is_saved_with_a_program(tmp_path: Path) -> None:
    program = tuned()
    program.set_lm(dspy.LM("openai/gpt-4o", api_key="sk-made-up-key-for-a-test"))
    path = tmp_path / "worker.io.json"
    files.save(program, str(path), role="worker", strategy="io")
    assert "gpt-4o" not in path.read_text()
    assert "sk-made-up" not in path.read_text()


def test_no_model_gets_in_with_a_file(file: str) -> None:
    record = json.loads(Path(file).read_text())
    record["state"]["choose_labor"]["lm"] = {"model": "openai/gpt-4o", "model_type": "chat", "cache": True}
    program = program_of()
    files.load(program, changed(file, state=record["state"]), role="worker", strategy="io")
    assert program.choose_labor.lm is None


# Refused


def test_a_file_for_another_role_is_refused(file: str) -> None:
    assert "saved for role 'worker', not 'planner'" in refusal(file, role="planner")


def test_a_file_for_another_strategy_is_refused(file: str) -> None:
    assert "saved for strategy 'io', not 'cot'" in refusal(file, strategy_name="cot")


def test_a_file_with_other_fields_is_refused(file: str) -> None:
    fields = json.loads(Path(file).read_text())["fields"]
    renamed = {**fields, "choose_labor": ["goal", *fields["choose_labor"][1:]]}
    swapped = {**fields, "choose_labor": fields["choose_labor"][::-1]}
    for other in (renamed, swapped, {"choose_labor": fields["choose_labor"]}, {}, None):
        assert "fields" in refusal(changed(file, fields=other))


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(str(tmp_path / "nowhere.json"))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "not readable" in refusal(str(tmp_path))


@pytest.mark.parametrize("text", ["", "not json", '{"format": ', "[]", "3", "null", "{}", '{"format": "other 1"}'])
def test_what_is_no_program_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "worker.io.json"
    path.write_text(text)
    assert "JSON" in (said := refusal(str(path))) or files.FORMAT in said


class Trap:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_never_loaded(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "worker.io.json"
    path.write_bytes(pickle.dumps(Trap(), protocol=protocol))
    assert "not readable JSON" in refusal(str(path))
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("state", [None, {}, {"choose_labor": {}}, [], {"choose_labor": None}], ids=str)
def test_a_file_with_a_broken_state_is_refused(state: Any, file: str) -> None:
    assert refusal(changed(file, state=state))
