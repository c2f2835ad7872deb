"""What programs/dspy_versions.py takes from DSPy, or replaces: the same answers as the installed DSPy gives."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import dspy
import pytest
from dspy import lm15

from programs import dspy_versions
from programs.adapters.repairing import ADAPTERS
from programs.models import Model, connect
from signatures.worker import ChooseLabor

ROOT = Path(__file__).parents[2]
MODELS = [
    *("openai/o3", "o3", "o3-mini", "openai/o4-mini", "o1-pro", "gpt-5", "gpt-5-mini", "openai/gpt-5.1", "gpt-5-chat"),
    *("gpt-4o", "openai/gpt-4o-mini", "anthropic/claude-o3", "rules", "o3x", "ollama_chat/o3-not", "gguf:o3.gguf"),
]


def own_name(path: str) -> Any:
    """A private name of the installed DSPy; skips the test in a version that has none."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        pytest.skip(f"this version of DSPy has no {path}")


@pytest.mark.parametrize("model", MODELS)
def test_reasoning_models_are_those_that_dspy_knows(model: str) -> None:
    assert dspy_versions.is_reasoning_model(model) == own_name("dspy.clients.lm:_is_openai_reasoning_model")(model)


def test_missing_output_fields_are_filled_as_dspy_fills_them() -> None:
    class Asked(dspy.Signature):
        """Answer."""

        question: str = dspy.InputField()
        plain: str = dspy.OutputField()
        given: int = dspy.OutputField(default=3)
        made: list[int] = dspy.OutputField(default_factory=list)
        maybe: int | None = dspy.OutputField()
        noted: Annotated[Optional[str], "note"] = dspy.OutputField()  # noqa: UP045
        chosen: Literal["a", "b"] = dspy.OutputField()

    theirs = own_name("dspy.adapters.utils:apply_output_field_defaults")
    for fields in ({}, {"chosen": "a", "plain": "x"}, {"given": 1, "maybe": 2, "noted": None}):
        assert list(dspy_versions.with_defaults(Asked, fields).items()) == list(theirs(Asked, fields).items())


def test_a_prompt_of_lm15_becomes_the_same_messages_as_a_list() -> None:
    """DSPy 3.5's adapters return what a request of lm15 holds."""
    inputs = {name: "x" for name in ChooseLabor.input_fields}
    listed = dspy.ChatAdapter().format(ChooseLabor, [], inputs)
    system, user = listed
    prompt = lm15.Request(model="m", system=system["content"], messages=(lm15.Message.user(user["content"]),))
    assert dspy_versions.messages_of(prompt) == dspy_versions.messages_of(listed) == listed


def test_the_format_without_a_configured_adapter_is_the_one_that_dspy_uses() -> None:
    asked: list[Any] = []

    class Engine:
        def complete(self, request: lm15.Request) -> lm15.Response:
            asked.append(request)
            raise lm15.InvalidRequestError("seen")

    with dspy.context(adapter=None, lm=dspy.LM("m", engine=Engine(), cache=False)), pytest.raises(dspy.LMError):
        dspy.Predict("question -> answer")(question="why")
    inputs = {"question": "why"}
    own = {"chat": dspy.ChatAdapter, "xml": dspy.XMLAdapter}[dspy_versions.DEFAULT_ADAPTER]()
    system, *_ = own.format(dspy.Signature("question -> answer"), [], inputs)
    assert str(asked[0].system) == system["content"]


def test_without_litellm_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dspy.clients._litellm", None)
    monkeypatch.setitem(sys.modules, "dspy.clients.engines.litellm_engine", None)
    for needs in (dspy_versions.litellm, dspy_versions.litellm_engines):
        with pytest.raises(ValueError, match=r"^this provider needs the package litellm: pip install litellm$"):
            needs()


def test_a_new_instruction_is_written_in_the_given_format() -> None:
    adapter = ADAPTERS["json"]()
    assert dspy_versions.instruction_proposer(adapter).adapter is adapter


def test_a_method_of_dspy_logs_what_it_would_print(capsys: pytest.CaptureFixture[str]) -> None:
    logged: list[tuple[object, ...]] = []
    quiet = dspy_versions.printing_with(dspy.BestOfN.forward, lambda *words: logged.append(words))

    class Broken(dspy.Predict):
        def forward(self, **inputs: Any) -> None:
            raise ValueError("broken")

    twice = dspy.BestOfN(Broken("question -> answer"), N=2, reward_fn=lambda *_: 1.0, threshold=1.0)
    with dspy.context(lm=connect(Model("rules"))):
        quiet(twice, question="why")
    assert "broken" in str(logged)
    assert capsys.readouterr().out == ""


def test_refine_is_told_about_our_modules_in_words() -> None:
    refine = dspy.Refine(dspy.Predict(ChooseLabor), N=2, reward_fn=lambda *_: 1.0, threshold=1.0)
    assert {"module_code", "reward_fn_code"} <= vars(refine).keys()
    dspy_versions.tell_refine(refine, "a program", "a score")
    assert (refine.module_code, refine.reward_fn_code) == ("a program", "a score")


def test_an_optimizer_leaves_a_marked_role_alone() -> None:
    outer = dspy.Module()
    outer.inner = dspy.ChainOfThought(ChooseLabor)
    for alone, tuned in ((True, []), (False, ["inner.predict"])):
        dspy_versions.left_alone(outer.inner, alone)
        assert [name for name, _ in outer.named_predictors()] == tuned


INNER = ("dspy.clients.", "dspy.adapters.utils", "dspy.teleprompt.", "dspy.utils.callback_context")
"""Modules of DSPy that change between its versions."""

PUBLIC = {"dspy.clients.engines"}
"""Of these, the ones with a list of public names that DSPy documents."""


@pytest.mark.slow
def test_no_other_module_imports_what_changes_between_versions() -> None:
    found = []
    for package in ("signatures", "programs", "pipeline", "evals"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                name = node.module if isinstance(node, ast.ImportFrom) and node.module else ""
                if name.startswith(INNER) and name not in PUBLIC and file.name != "dspy_versions.py":
                    found.append(f"{file.relative_to(ROOT)}: {name}")
    assert found == []
