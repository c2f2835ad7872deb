"""A user's own callbacks (`--callback module:Name`): called after every year, or told of every call by DSPy.

A function, or a class whose instances can be called, gets each `pipeline.simulation.records.Year` after it is stored. A
`dspy.BaseCallback`, class or instance, is installed for the run's questions, in every process that asks them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dspy.utils.callback import BaseCallback

from pipeline.economy.user_parts.parts import called, made, takes
from pipeline.errors import UsageError
from programs.plugins import CALLBACK, load

HANDLERS = tuple(name for name in vars(BaseCallback) if name.startswith("on_"))


class Callbacks:
    """The callbacks of one run in one process. UsageError in one line if one cannot be used."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.of_years: list[tuple[str, Callable[[Any], Any]]] = []
        self.of_dspy: list[Any] = []
        for name in names:
            self._add(name)

    def _add(self, name: str) -> None:
        try:
            found = load(CALLBACK, name)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if isinstance(found, type) and issubclass(found, BaseCallback):
            found = called(found, name=name, kind=CALLBACK)
        if isinstance(found, BaseCallback):
            self.of_dspy.append(_watched(name, found))
            if not callable(found):
                return
        one = made(found, name, CALLBACK)
        if not takes(one, 1):
            raise UsageError(f"{CALLBACK.flag} {name} cannot be called with a year; expected callback(year)")
        self.of_years.append((name, one))

    def on_year(self, year: Any) -> None:
        """Call every callback with a year that was just stored. UsageError names the one that fails."""
        self.check()
        for name, one in self.of_years:
            called(one, year, name=name, kind=CALLBACK)

    def check(self) -> None:
        """UsageError if a DSPy callback has failed: DSPy itself would only write a warning."""
        for one in self.of_dspy:
            if one.failure is not None:
                raise UsageError(one.failure) from None


def _watched(name: str, callback: BaseCallback) -> BaseCallback:
    """A callback that passes everything on to `callback` and keeps the line on its first failure as `failure`."""

    class Watched(BaseCallback):
        failure: str | None = None

    def handler(event: str) -> Callable[..., None]:
        def handle(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                called(lambda: getattr(callback, event)(*args, **kwargs), name=name, kind=CALLBACK)
            except UsageError as error:
                self.failure = self.failure or str(error)

        return handle

    for event in HANDLERS:
        setattr(Watched, event, handler(event))
    return Watched()
