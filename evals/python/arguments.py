"""Check the arguments of the Python interface by their annotations: one line instead of an error somewhere below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from pydantic import ConfigDict, ValidationError, validate_call

from pipeline.errors import UsageError
from programs.visible import visible

Given = ParamSpec("Given")
Result = TypeVar("Result")


def checked_arguments(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """`function`, raising UsageError in one line for an argument that is missing, unknown or of another type."""
    check = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)

    @wraps(function)
    def called(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return check(*args, **kwargs)
        except ValidationError as error:
            if error.title != function.__name__:  # raised within the function
                raise
            raise UsageError(_in_words(function, error.errors(include_url=False)[0])) from None

    return called


def _in_words(function: Callable[..., Any], wrong: Mapping[str, Any]) -> str:
    name, place = function.__name__.removesuffix("_database"), wrong["loc"][0]
    parameters = [*signature(function).parameters.values()]
    if isinstance(place, int):  # an argument without its name
        found = parameters[min(place, len(parameters) - 1)]
    else:
        found = next((one for one in parameters if one.name == place), parameters[0])
    if wrong["type"] in ("missing_argument", "unexpected_keyword_argument", "unexpected_positional_argument"):
        return f"{name}: {place}: {wrong['msg']}"
    given = f"{wrong['input']!r:.60}"
    return f"{name}: {found.name}={visible(given)}: expected {found.annotation}"
