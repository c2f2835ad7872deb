"""All uses of DSPy beyond its public names, and all differences between its versions 3.4 and 3.5.

No other module imports these names from DSPy. What DSPy 3.5 changes is taken from its upgrading guide: XML is the
default adapter, adapters return an lm15 prompt instead of a list of messages, and LiteLLM is an optional package.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Mapping
from functools import cache
from types import FunctionType, ModuleType
from typing import Annotated, Any, Union, get_args, get_origin

import dspy
from dspy import lm15
from dspy.clients.errors import wrap_error
from dspy.clients.model_metadata import model_info, rate
from dspy.utils.callback_context import ACTIVE_CALL_ID
from dspy.utils.exceptions import LMConfigurationError

__all__ = ["ACTIVE_CALL_ID", "model_info", "rate", "wrap_error"]

VERSION = tuple(int(part) for part in dspy.__version__.split(".")[:2])

DEFAULT_ADAPTER = "xml" if VERSION >= (3, 5) else "chat"
"""DSPy's prompt format if none is configured."""


class _Nothing:
    """An engine that is never asked."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        raise lm15.ConfigurationError("this model is never asked")


@cache
def is_reasoning_model(name: str) -> bool:
    """Whether `name` is one of OpenAI's reasoning models, which refuse a temperature: DSPy refuses to set one."""
    try:
        dspy.LM(name, engine=_Nothing(), temperature=0.5)
    except LMConfigurationError:
        return True
    return False


def with_defaults(signature: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` of a reply in the order of the signature; optional fields that are missing get their default or None."""
    complete = {}
    for name, field in signature.output_fields.items():
        if name in fields:
            complete[name] = fields[name]
        elif not field.is_required():
            complete[name] = field.get_default(call_default_factory=True)
        elif _allows_none(field.annotation):
            complete[name] = None
    return complete


def _allows_none(annotation: Any) -> bool:
    if annotation is None or annotation is type(None):
        return True
    parts, origin = get_args(annotation), get_origin(annotation)
    if origin is Annotated:
        return _allows_none(parts[0])
    return origin in (Union, types.UnionType) and any(map(_allows_none, parts))


def messages_of(formatted: Any) -> list[dict[str, Any]]:
    """The result of an adapter's `format`, a list or an lm15 prompt, as messages with a role and a text."""
    if isinstance(formatted, list):
        return formatted
    system = [{"role": "system", "content": str(formatted.system)}] if formatted.system else []
    return system + [{"role": one.role, "content": one.text} for one in formatted.messages]


def litellm() -> ModuleType:
    """The package LiteLLM, with DSPy's settings. ValueError if it is not installed."""
    try:
        found: ModuleType = importlib.import_module("dspy.clients._litellm").get_litellm(feature="other providers")
    except (ImportError, AttributeError) as error:
        raise ValueError("this provider needs the package litellm: pip install litellm") from error
    return found


def litellm_engines() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """DSPy's synchronous and asynchronous engine over LiteLLM. ValueError if LiteLLM is not installed."""
    try:
        engines = importlib.import_module("dspy.clients.engines.litellm_engine")
        return engines.LiteLLMEngine, engines.AsyncLiteLLMEngine
    except (ImportError, AttributeError) as error:
        raise ValueError("this provider needs the package litellm: pip install litellm") from error


def instruction_proposer(adapter: dspy.Adapter) -> Any:
    """The proposer of new instructions for GEPA, in the format of `adapter`."""
    return importlib.import_module("dspy.teleprompt.gepa").InstructionProposer(adapter=adapter)


def left_alone(program: dspy.Module, alone: bool) -> None:
    """Mark a module whose predictors optimizers leave unchanged, or tune."""
    program._compiled = alone


def printing_with(method: Callable[..., Any], log: Callable[..., None]) -> Any:
    """A DSPy method that calls `log` instead of `print`."""
    own = {**method.__globals__, "print": log}
    return FunctionType(method.__code__, own, method.__name__, method.__defaults__, method.__closure__)


def tell_refine(refine: dspy.Refine, program: str, score: str) -> None:
    """Let `dspy.Refine` describe the program in these words, and not by the source code of our modules."""
    refine.module_code, refine.reward_fn_code = program, score
