"""Prompt strategies by name, and the programs that are built with them."""

import sys
from pathlib import Path

import dspy
import pytest
from support.village import ask, inputs_of, module_of

from pipeline.agents.roles import PROGRAMS, QUESTIONS
from pipeline.simulation.elections.rules import ELECTION_RULES
from programs.adapters.repairing import ADAPTERS
from programs.roles.voter import ABSTAIN, VOTES, ballot, names_in
from programs.strategies.registry import STRATEGIES, strategy
from signatures.planner import SetTaxRates, for_brackets
from signatures.voter import GovernAsLeader, StandForOffice


def test_an_unknown_strategy_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ValueError, match="unknown strategy 'tot'") as refused:
        strategy("tot")
    assert all(name in str(refused.value) for name in STRATEGIES)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("question", QUESTIONS)
def test_cot_puts_the_question_of_io_and_wants_the_same_answer(question: str) -> None:
    (io,), (cot,) = (module_of(question, name).predictors() for name in ("io", "cot"))
    assert list(cot.signature.input_fields) == list(io.signature.input_fields)
    assert cot.signature.instructions == io.signature.instructions
    assert list(cot.signature.output_fields) == ["reasoning", *io.signature.output_fields]
    for field in io.signature.output_fields:
        assert cot.signature.output_fields[field].annotation == io.signature.output_fields[field].annotation


@pytest.mark.parametrize("question", QUESTIONS)
def test_reasoning_first_changes_no_answer_of_rules_that_is_not_drawn(question: str) -> None:
    io, cot = (ask(module_of(question, name), inputs_of(question)) for name in ("io", "cot"))
    assert cot.reasoning
    if question == "WritePersona":
        assert io.persona.split(". ")[0] == cot.persona.split(". ")[0]
    else:
        assert {name: cot[name] for name in io.keys()} == io.toDict()  # noqa: SIM118 (no mapping)


@pytest.mark.parametrize("role", PROGRAMS)
def test_a_program_asks_in_the_strategy_that_it_is_given(role: str) -> None:
    for name, kind in (("io", dspy.Predict), ("cot", dspy.ChainOfThought)):
        program = PROGRAMS[role](strategy(name), 3)
        asked = [getattr(program, attribute) for owner, attribute in QUESTIONS.values() if owner == role]
        assert asked
        assert all(type(module) is kind for module in asked)


@pytest.mark.parametrize("signature", [SetTaxRates, GovernAsLeader, StandForOffice])
def test_the_number_of_brackets_is_part_of_the_question(signature: type[dspy.Signature]) -> None:
    typed = {brackets: for_brackets(signature, brackets) for brackets in (1, 3, 7)}
    kinds = [each.output_fields["rate_changes"].annotation for each in typed.values()]
    assert len(set(kinds)) == 3
    assert for_brackets(signature, 3) is typed[3], "made once"
    assert all(each.instructions == signature.instructions for each in typed.values())


def test_a_ballot_names_the_candidates_and_leaves_the_program_as_it_was() -> None:
    program = PROGRAMS["voter"](strategy("cot"), 3)
    narrowed = ballot(program.cast_vote, ["worker 3", "worker 8"])
    (asked,), (before,) = narrowed.predictors(), program.cast_vote.predictors()
    assert asked.signature.output_fields["vote"].annotation.__args__ == ("worker 3", "worker 8", ABSTAIN)
    assert before.signature.output_fields["vote"].annotation is str


@pytest.mark.first_cases(29)
@pytest.mark.parametrize("form", VOTES)
@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("algo", STRATEGIES)
def test_every_ballot_is_answered_in_every_strategy_and_format(form: str, adapter: str, algo: str) -> None:
    rule = next(name for name, rule in ELECTION_RULES.items() if rule.form == form)
    said = ask(module_of("CastVote", algo, form=form), inputs_of("CastVote", rule=rule), adapter=adapter).vote
    expected = {"name": ("worker 4",), "set": ("worker 4", "worker 2"), "ranking": ("worker 4", "worker 2", "worker 0")}
    assert names_in(said) == expected[form], "the lawyer likes her own platform best"


@pytest.mark.parametrize("form", VOTES)
def test_a_ballot_keeps_what_was_tuned(form: str) -> None:
    program = PROGRAMS["voter"](strategy("io"), 3)
    tuned = "Vote with your purse."
    program.cast_vote.signature = program.cast_vote.signature.with_instructions(tuned)
    program.cast_vote.demos = [dspy.Example(identity="You are rich.", vote="worker 1")]
    narrowed = ballot(program.cast_vote, ["worker 1"], form)
    assert narrowed.signature.instructions == tuned
    assert len(narrowed.demos) == 1


# A strategy of one's own


@pytest.fixture
def own_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A module in the current folder, forgotten after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "my_strategy", None)  # so that it is removed at the end
    del sys.modules["my_strategy"]
    (tmp_path / "my_strategy.py").write_text(
        "import dspy\n"
        "class Twice(dspy.Module):\n"
        "    def __init__(self, signature):\n"
        "        super().__init__()\n"
        "        self.first, self.second = dspy.Predict(signature), dspy.Predict(signature)\n"
        "    async def aforward(self, **inputs):\n"
        "        await self.first.acall(**inputs)\n"
        "        return await self.second.acall(**inputs)\n"
    )


@pytest.mark.usefixtures("own_code")
def test_a_users_strategy_is_loaded_from_the_current_folder() -> None:
    module = module_of("ChooseLabor", "my_strategy:Twice")
    assert len(module.predictors()) == 2
    assert ask(module, inputs_of("ChooseLabor")).labor == ask(module_of("ChooseLabor"), inputs_of("ChooseLabor")).labor


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize("name", ["my_strategy:Thrice", "nowhere:Twice", ":"])
def test_a_strategy_that_cannot_be_loaded_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="expected module:Name") as refused:
        strategy(name)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)
