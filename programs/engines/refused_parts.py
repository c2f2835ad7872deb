"""Learn which optional parts of a request a server refuses, and leave them out.

A server may refuse a schema, a seed, several samples, a temperature, the system role, or a name of the token limit,
each with its own error message. A refused request is therefore sent again without the part that the error names, or
else without one part after another in the order of `PARTS`. A part counts as refused only if the request succeeds
without it and fails with it; from then on this process leaves it out for that endpoint.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Generator, Hashable, Mapping
from dataclasses import dataclass, field, replace
from itertools import filterfalse
from threading import Lock
from typing import Any, TypeAlias

from dspy import lm15

from programs.caching import PerObject
from programs.calls.batching import COUNT, samples
from programs.calls.optional_parts import LIMITS, NEW_LIMIT, PARTS, SAMPLES, SCHEMA, SEED, SYSTEM, TEMPERATURE, WITHOUT

log = logging.getLogger("llm_economist")

Outcome: TypeAlias = lm15.Response | lm15.LM15Error
Steps = Generator[lm15.Request, Outcome, lm15.Response]


_spelled = PerObject(lambda form: json.dumps(form, sort_keys=True, default=str))


@dataclass
class Memory:
    """The parts that an endpoint is known to refuse and to accept. `told`: its error message for each refused part."""

    told: dict[str, str] = field(default_factory=dict)
    taken: set[Hashable] = field(default_factory=set)
    in_vain: set[Hashable] = field(default_factory=set)


_memories: dict[Hashable, Memory] = {}
_making = Lock()


def memory_of(place: Hashable) -> Memory:
    """What is known of an endpoint, shared by all runs and roles of a process."""
    with _making:
        return _memories.setdefault(place, Memory())


def forget() -> None:
    """Forget everything about all endpoints."""
    for memory in _memories.values():
        memory.told.clear()
        memory.taken.clear()
        memory.in_vain.clear()


@dataclass
class Parts:
    """The parts that are sent to `endpoint`. `omitted`: left out by the user. `limit`: its client's field for the token
    limit."""

    endpoint: Any
    omitted: frozenset[str] = frozenset()
    limit: str = NEW_LIMIT

    def __post_init__(self) -> None:
        self.memory = memory_of(self.endpoint.place)
        self.limits = sorted(LIMITS, key=lambda name: name != self.limit)
        """The fields for the token limit, in the order in which they are tried."""

    @property
    def refused(self) -> frozenset[str]:
        """Parts that are left out, by the user or because the server refused them."""
        return self.omitted.union(self.memory.told)

    @property
    def unlimited(self) -> bool:
        """Whether no token limit is sent."""
        return self.refused.issuperset(LIMITS)

    def sent(self, request: lm15.Request, without: frozenset[str] | None = None) -> lm15.Request:
        """`request` as it is sent `without` some parts, by default the refused ones."""
        without = self.refused if without is None else without
        if not without:
            return request
        config, extensions = request.config, dict(request.config.extensions or {})
        changes: dict[str, Any] = {name: None for name in (SEED, TEMPERATURE) if name in without}
        if SCHEMA in without:
            changes["response_format"] = None
        if SAMPLES in without:
            extensions.pop(COUNT, None)
        if config.max_tokens is not None and self.limit in without:
            changes["max_tokens"] = None
            if (name := self._limit(without)) is not None:
                extensions[name] = config.max_tokens
        request = replace(request, config=replace(config, **changes, extensions=extensions or None))
        return _without_system(request) if SYSTEM in without else request

    def _limit(self, without: frozenset[str]) -> str | None:
        """The field that the token limit is sent in."""
        return next(filterfalse(without.__contains__, self.limits), None)

    def of(self, request: lm15.Request, without: frozenset[str]) -> dict[str, Hashable]:
        """The parts of a request that is sent `without` some, each with its value."""
        config, limit = request.config, self._limit(without)
        form = config.response_format
        found: dict[str, Hashable] = {
            SCHEMA: _spelled(form) if form is not None else None,
            SEED: config.seed is not None or None,
            SAMPLES: samples(request) if samples(request) > 1 else None,
            TEMPERATURE: config.temperature,
            SYSTEM: bool(request.system) or None,
        }
        if limit is not None and config.max_tokens is not None:
            found[limit] = True
        return {name: found[name] for name in PARTS if found.get(name) is not None and name not in without}

    def steps(self, request: lm15.Request) -> Steps:
        """A generator of the requests to send, one after another; it receives each outcome. Raises an error that
        leaving out parts cannot avoid."""
        without = self.refused
        outcome = yield self.sent(request, without)
        while not isinstance(outcome, lm15.Response) and is_refusal(outcome) and without != self.refused:
            without = self.refused  # another request has found out meanwhile
            outcome = yield self.sent(request, without)
        if isinstance(outcome, lm15.Response):
            self.memory.taken.update(self.of(request, without).items())
            return outcome
        first, vain = outcome, (getattr(outcome, "status", None), tuple(self.of(request, without)))
        if not is_refusal(first) or (vain in self.memory.in_vain and not self._named(first, request, without)):
            raise first
        dropped: list[str] = []
        words: dict[str, str] = {}
        while not isinstance(outcome, lm15.Response):
            if not is_refusal(outcome):
                raise outcome
            trial = without.union(dropped)
            part = self._named(outcome, request, trial) or self._next(request, trial)
            if part is None:
                self.memory.in_vain.add(vain)
                raise first
            dropped.append(part)
            words[part] = " ".join(str(outcome).partition("To fix:")[0].split())
            outcome = yield self.sent(request, without.union(dropped))
        needed, outcome = yield from self._needed(request, without, dropped, outcome, first)
        self.memory.taken.update(self.of(request, without.union(needed)).items())
        for part in needed:
            self._refuse(part, words[part])
        return outcome

    def _needed(
        self, request: lm15.Request, without: frozenset[str], dropped: list[str], outcome: lm15.Response, first: Any
    ) -> Generator[lm15.Request, Outcome, tuple[list[str], lm15.Response]]:
        """Those of the `dropped` parts that make the request fail, and the answer to a request without them.

        The first error has to name one part. A server failure (5xx) must occur again, because it may be temporary.
        """
        named = self._named(first, request, without)
        if dropped == [named] and not is_failure(first):
            return dropped, outcome
        needed, usage = list(dropped), outcome.usage
        for part in dropped if is_failure(first) else dropped[:-1]:
            trial = [name for name in needed if name != part]
            again = yield self.sent(request, without.union(trial))
            if isinstance(again, lm15.Response):
                needed, outcome, usage = trial, again, _sum(usage, again.usage)
            elif not is_refusal(again):
                raise again
        return needed, replace(outcome, usage=usage)  # each attempt is billed

    def _named(self, error: Any, request: lm15.Request, without: frozenset[str]) -> str | None:
        """The part of a request that an error names. The error of a failing server (5xx) cannot mean a part accepted
        earlier."""
        told, present = str(error), self.of(request, without)
        if is_failure(error):
            present = self._untried(present)
        found = {name: PARTS[name].search(told) for name in present}
        places = {name: match.start() for name, match in found.items() if match}
        return min(places, key=lambda name: places[name], default=None)

    def _next(self, request: lm15.Request, without: frozenset[str]) -> str | None:
        """The next part to leave out if none is named: one that was never accepted."""
        return next(iter(self._untried(self.of(request, without))), None)

    def _untried(self, parts: Mapping[str, Hashable]) -> dict[str, Hashable]:
        return {name: value for name, value in parts.items() if (name, value) not in self.memory.taken}

    def _refuse(self, part: str, words: str) -> None:
        if part not in self.memory.told:
            self.memory.told[part] = words
            log.info("%s refuses %s (%s): from now on it is asked %s", self.endpoint, part, words[:200], WITHOUT[part])


def is_refusal(error: BaseException) -> bool:
    """Whether an error may mean a refused part: 4xx, except for keys, models and limits; 500 and 501."""
    if isinstance(error, lm15.UnsupportedFeatureError):
        return True
    others = (lm15.AuthError, lm15.BillingError, lm15.RateLimitError, lm15.TimeoutError, lm15.ContextLengthError)
    if isinstance(error, (*others, lm15.UnsupportedModelError)):
        return False
    status = getattr(error, "status", None) or 0
    return status in (500, 501) or (400 <= status < 500 and status not in (401, 402, 403, 404, 408, 429))


def is_failure(error: BaseException) -> bool:
    """Whether a server reports its own failure, which may be temporary."""
    return (getattr(error, "status", None) or 0) >= 500


def _sum(one: lm15.Usage, other: lm15.Usage) -> lm15.Usage:
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in names}
    return lm15.Usage(**{name: sum(pair) for name, pair in pairs.items() if None not in pair})


def _without_system(request: lm15.Request) -> lm15.Request:
    """`request` with its system text in front of the first user message."""
    if not request.system:
        return request
    system = request.system if isinstance(request.system, str) else "".join(part.text for part in request.system)
    messages = list(request.messages)
    at = next((number for number, message in enumerate(messages) if message.role == "user"), None)
    if at is None:
        return replace(request, system=None, messages=(lm15.Message.user(system), *messages))
    messages[at] = lm15.Message.user(f"{system}\n\n{messages[at].text}")
    return replace(request, system=None, messages=tuple(messages))


def run_now(steps: Steps, send: Callable[[lm15.Request], lm15.Response]) -> lm15.Response:
    """The answer after all `steps`, each sent by `send`."""
    wanted = next(steps)
    while True:
        outcome: Outcome
        try:
            outcome = send(wanted)
        except lm15.LM15Error as error:
            outcome = error
        try:
            wanted = steps.send(outcome)
        except StopIteration as done:
            return done.value


async def run(steps: Steps, send: Callable[[lm15.Request], Awaitable[lm15.Response]]) -> lm15.Response:
    """The same for the event loop."""
    wanted = next(steps)
    while True:
        outcome: Outcome
        try:
            outcome = await send(wanted)
        except lm15.LM15Error as error:
            outcome = error
        try:
            wanted = steps.send(outcome)
        except StopIteration as done:
            return done.value
