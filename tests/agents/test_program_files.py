"""Saved programs: what was tuned comes back, and nothing else gets in."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import dspy
import pytest
from support.models.tuned_program import DEMO, DEMOS, TUNED, program_of, tuned
from support.village import ask, inputs_of

from pipeline.agents.roles import PROGRAMS
from programs.adapters.repairing import ADAPTERS
from programs.roles import saved_program
from programs.strategies.registry import STRATEGIES


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A worker tuned in strategy io, saved."""
    path = str(tmp_path / "worker.io.json")
    saved_program.save(tuned(), path, role="worker", strategy="io")
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
        saved_program.load(program, path, role=role, strategy=strategy_name)
    assert {name: predictor.dump_state() for name, predictor in program.named_predictors()} == before
    assert "\n" not in str(refused.value)
    assert path in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("strategy_name", STRATEGIES)
@pytest.mark.parametrize("role", PROGRAMS)
def test_what_was_saved_is_what_is_loaded(role: str, strategy_name: str, tmp_path: Path) -> None:
    path = str(tmp_path / f"{role}.{strategy_name}.json")
    saved, loaded = tuned(role, strategy_name), program_of(role, strategy_name)
    saved_program.save(saved, path, role=role, strategy=strategy_name)
    saved_program.load(loaded, path, role=role, strategy=strategy_name)
    for before, after in zip(saved.predictors(), loaded.predictors(), strict=True):
        assert after.signature.instructions == before.signature.instructions
        assert after.signature.fields.keys() == before.signature.fields.keys()
        assert [dict(demo) for demo in after.demos] == [dict(demo) for demo in before.demos]
    assert loaded.predictors()[0].signature.instructions == TUNED
    assert [dict(demo) for demo in loaded.predictors()[0].demos] == [DEMOS[role]]


def test_saving_what_was_loaded_writes_the_same_file(file: str, tmp_path: Path) -> None:
    program = program_of()
    saved_program.load(program, file, role="worker", strategy="io")
    saved_program.save(program, str(tmp_path / "again.json"), role="worker", strategy="io")
    assert (tmp_path / "again.json").read_bytes() == Path(file).read_bytes()


def test_a_loaded_program_keeps_its_types_and_answers(file: str) -> None:
    program = program_of()
    saved_program.load(program, file, role="worker", strategy="io")
    assert program.choose_labor.signature.output_fields["labor"].annotation.__name__ == "Hours"
    assert 0 <= ask(program.choose_labor, inputs_of("ChooseLabor")).labor <= 100


def test_a_planner_tuned_on_three_brackets_answers_for_seven(tmp_path: Path) -> None:
    path, three = str(tmp_path / "planner.io.json"), tuned("planner")
    three.set_tax_rates.demos = []
    saved_program.save(three, path, role="planner", strategy="io")
    seven = program_of("planner", brackets=7)
    saved_program.load(seven, path, role="planner", strategy="io")
    assert seven.set_tax_rates.signature.instructions == TUNED
    annotation = seven.set_tax_rates.signature.output_fields["rate_changes"].annotation
    assert (
        annotation is program_of("planner", brackets=7).set_tax_rates.signature.output_fields["rate_changes"].annotation
    )


def test_a_file_is_text_that_a_person_can_review(file: str) -> None:
    record = json.loads(Path(file).read_text(encoding="ascii"))
    assert record["format"] == saved_program.FORMAT
    saved = record["predictors"]["choose_labor"]
    assert [field["name"] for field in saved["fields"]] == list(program_of().choose_labor.signature.fields)
    assert saved["instruction"] == TUNED
    assert saved["demos"] == [DEMO]


def test_only_fields_of_the_question_are_saved_of_a_demonstration(tmp_path: Path) -> None:
    program, path = tuned(), tmp_path / "worker.io.json"
    hidden = {"wage": 12.5, "economy_seed": 3, "augmented": True, "schedule": {"rates": [50]}}
    program.choose_labor.demos = [dspy.Example(DEMO, **hidden)]
    saved_program.save(program, str(path), role="worker", strategy="io")
    assert json.loads(path.read_text())["predictors"]["choose_labor"]["demos"] == [DEMO]


@pytest.mark.parametrize("strategy_name", ["io", "cot"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_prompt_is_the_same_after_saving_and_loading(adapter: str, strategy_name: str, tmp_path: Path) -> None:
    before, after = tuned("planner", strategy_name), program_of("planner", strategy_name)
    inputs = inputs_of("SetTaxRates")
    before.predictors()[0].demos = [dspy.Example(inputs, rate_changes=(10, 0, -10)), dspy.Example(inputs)]
    path = str(tmp_path / "planner.json")
    saved_program.save(before, path, role="planner", strategy=strategy_name)
    saved_program.load(after, path, role="planner", strategy=strategy_name)
    texts = [
        ADAPTERS[adapter]().format(predictor.signature, predictor.demos, inputs)
        for predictor in (before.predictors()[0], after.predictors()[0])
    ]
    assert texts[0] == texts[1]


def test_the_fingerprint_does_not_depend_on_the_number_of_brackets() -> None:
    three, seven = (saved_program.fields_of(program_of("voter", brackets=n).govern_as_leader.signature) for n in (3, 7))
    assert three == seven
    assert saved_program.fingerprint(three) == saved_program.fingerprint(seven)


def test_the_fingerprint_changes_with_names_types_bounds_and_order() -> None:
    class Asked(dspy.Signature):
        a: str = dspy.InputField()
        b: int = dspy.OutputField(ge=0, le=10)

    class Renamed(dspy.Signature):
        c: str = dspy.InputField()
        b: int = dspy.OutputField(ge=0, le=10)

    class Bounded(dspy.Signature):
        a: str = dspy.InputField()
        b: int = dspy.OutputField(ge=0, le=11)

    class Typed(dspy.Signature):
        a: str = dspy.InputField()
        b: float = dspy.OutputField(ge=0, le=10)

    class Turned(dspy.Signature):
        b: int = dspy.InputField(ge=0, le=10)
        a: str = dspy.OutputField()

    class Told(dspy.Signature):
        """Another instruction, and another description."""

        a: str = dspy.InputField(desc="described")
        b: int = dspy.OutputField(ge=0, le=10)

    prints = [
        saved_program.fingerprint(saved_program.fields_of(kind)) for kind in (Asked, Renamed, Bounded, Typed, Turned)
    ]
    assert len(set(prints)) == len(prints)
    assert saved_program.fingerprint(saved_program.fields_of(Told)) == prints[0]


def test_no_model_is_saved_with_a_program(tmp_path: Path) -> None:
    program = tuned()
    program.set_lm(dspy.LM("openai/gpt-4o", api_key="sk-made-up-key-for-a-test"))
    path = tmp_path / "worker.io.json"
    saved_program.save(program, str(path), role="worker", strategy="io")
    assert "gpt-4o" not in path.read_text()
    assert "sk-made-up" not in path.read_text()


def test_no_model_gets_in_with_a_file(file: str) -> None:
    saved = json.loads(Path(file).read_text())["predictors"]
    saved["choose_labor"]["lm"] = {"model": "openai/gpt-4o", "model_type": "chat", "cache": True}
    program = program_of()
    saved_program.load(program, changed(file, predictors=saved), role="worker", strategy="io")
    assert program.choose_labor.lm is None


def test_another_adapter_or_model_than_the_tuned_one_is_a_caution(tmp_path: Path) -> None:
    path = str(tmp_path / "worker.io.json")
    saved_program.save(tuned(), path, role="worker", strategy="io", adapter="chat", model="smollm2")

    def cautions(**now: str) -> list[str]:
        return saved_program.load(program_of(), path, role="worker", strategy="io", **now)

    assert cautions(adapter="chat", model="smollm2") == cautions() == []
    (said,) = cautions(adapter="json", model="smollm2")
    assert "tuned with adapter chat, and runs with json" in said
    assert len(cautions(adapter="json", model="rules")) == 2


# Refused


def test_a_file_for_another_role_is_refused(file: str) -> None:
    assert "saved for role 'worker', not 'planner'" in refusal(file, role="planner")


def test_a_file_for_another_strategy_is_refused(file: str) -> None:
    assert "saved for strategy 'io', not 'cot'" in refusal(file, strategy_name="cot")


def predictors_of(path: str, **values: Any) -> dict[str, Any]:
    """The predictors in a file, with other values for `choose_labor`."""
    saved: dict[str, Any] = json.loads(Path(path).read_text())["predictors"]
    saved["choose_labor"].update(values)
    return saved


def test_what_differs_is_said_field_by_field(file: str) -> None:
    fields = predictors_of(file)["choose_labor"]["fields"]
    renamed = [{**fields[0], "name": "goal"}, *fields[1:]]
    typed = [*fields[:-1], {**fields[-1], "type": {"maximum": 80, "minimum": 0, "type": "integer"}}]
    turned = [fields[1], fields[0], *fields[2:]]
    for other, said in (
        (renamed, "the question has no field 'goal' any more"),
        (fields[1:], "the file lacks the field 'objective'"),
        (typed, 'is {"maximum": 100, "minimum": 0, "type": "integer"}, in the file {"maximum": 80'),
        (turned, "the order of the fields is objective, tax_schedule"),
        ([], "the file lacks the field"),
        (None, "does not say its fields"),
        ("fields", "does not say its fields"),
    ):
        assert said in refusal(changed(file, predictors=predictors_of(file, fields=other)))


def test_a_file_whose_fingerprint_is_not_of_its_fields_is_refused(file: str) -> None:
    assert "fingerprint" in refusal(changed(file, predictors=predictors_of(file, fingerprint="0" * 16)))


def test_a_file_with_other_predictors_is_refused(file: str) -> None:
    saved = predictors_of(file)
    said = refusal(changed(file, predictors={"choose_labor": saved["choose_labor"]}))
    assert "has predictors choose_labor; the program has choose_labor, judge_tax_policy" in said


@pytest.mark.parametrize(
    ("demo", "said"),
    [
        ({**DEMO, "labor": 140}, "demo 1: labor 140 does not fit"),
        ({**DEMO, "labor": "many"}, 'labor "many" does not fit'),
        ({**DEMO, "phase": "rest"}, 'phase "rest" does not fit'),
        ({**DEMO, "wage": 12.5}, "the question has no field 'wage'"),
        ({}, "expected an object"),
        ("a demo", "expected an object"),
    ],
)
def test_a_demonstration_that_does_not_fit_the_question_is_refused(demo: Any, said: str, file: str) -> None:
    assert said in refusal(changed(file, predictors=predictors_of(file, demos=[demo])))


def test_demonstrations_for_another_number_of_brackets_are_refused(tmp_path: Path) -> None:
    program, path = tuned("planner"), str(tmp_path / "planner.io.json")
    program.set_tax_rates.demos = [dspy.Example(inputs_of("SetTaxRates"), rate_changes=(10, 0, -10))]
    saved_program.save(program, path, role="planner", strategy="io")
    saved_program.load(program_of("planner"), path, role="planner", strategy="io")
    with pytest.raises(ValueError, match=r"demo 1: rate_changes \[10, 0, -10\] does not fit"):
        saved_program.load(program_of("planner", brackets=7), path, role="planner", strategy="io")


def test_a_file_of_the_first_format_is_refused_with_the_way_out(file: str) -> None:
    assert "llm-economist optimize" in refusal(changed(file, format="llm-economist program 1"))


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(str(tmp_path / "nowhere.json"))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(str(tmp_path))


@pytest.mark.parametrize("text", ["", "not json", '{"format": ', "[]", "3", "null", "{}", '{"format": "other 1"}'])
def test_what_is_no_program_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "worker.io.json"
    path.write_text(text)
    assert "JSON" in (said := refusal(str(path))) or saved_program.FORMAT in said


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


@pytest.mark.parametrize("state", [None, {}, {"choose_labor": {}}, [], {"choose_labor": None}, "state"], ids=str)
def test_a_file_with_broken_predictors_is_refused(state: Any, file: str) -> None:
    assert refusal(changed(file, predictors=state))


@pytest.mark.parametrize("broken", [{"instruction": None}, {"instruction": 3}, {"demos": None}, {"demos": {}}], ids=str)
def test_a_file_without_instruction_or_demonstrations_is_refused(broken: dict[str, Any], file: str) -> None:
    assert "no usable instruction or demos" in refusal(changed(file, predictors=predictors_of(file, **broken)))
