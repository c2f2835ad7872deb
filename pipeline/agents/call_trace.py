"""Record each attempt at a model call of a run as a row of `lm_calls` (for studies: dspy_callbacks.py).

A `Trace` follows one question to its answer. It is the recorder in the question's `CallContext`: engines report
attempts to it (programs/calls/observed_engine.py), and adapters report what they could parse
(programs/adapters/repairing.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from dspy import lm15
from pydantic_core import to_jsonable_python

from pipeline.store.call_rows import BRANCH_ATTEMPTS, MOST_ATTEMPTS, RUN_STRIDE, SIGNATURES, Call
from pipeline.store.columns import as_json
from programs.caching import PerObject
from programs.calls.prices import KNOWN, Prices, count
from programs.calls.protocols import Attempt, SharedPrompt
from programs.calls.server_replies import finish_reason, stored, text_of, told
from programs.models import without_secrets

HEADS = re.compile(r"(?:^|\n\n)### (system|user|assistant)\n")
"""The line before each message of a stored prompt."""

KINDS = (
    (lm15.RateLimitError, "rate_limit"),
    (lm15.TimeoutError, "timeout"),
    (lm15.ServerError, "server_error"),
    (lm15.TransportError, "connection"),
    (lm15.AuthError, "auth"),
    (lm15.BillingError, "billing"),
    (lm15.ContextLengthError, "context_length"),
    (lm15.InvalidRequestError, "invalid_request"),
)


@dataclass
class Trace:
    """One question to one agent in one year, with every attempt at an answer, in order.

    `recorded`: stored calls of this question; their replies are reused for identical requests. `offline`: nothing else
    may be used (a replay). `on_call` gets each new call once its outcome is known. `first`: the number of its first
    attempt. A question may branch to draw several samples at once, with seeds and numbers that do not depend on which
    reply comes first; `root` is the question itself. `interview`: for an interview, its number among those of the run.
    `same`: the other agents that get the same prompt at once.
    """

    run_id: int
    year: int
    agent: int | None
    role: str
    signature: str
    strategy: str
    program: str | None
    model: str
    num_agents: int
    seed: int
    on_call: Callable[[Call], None] = lambda call: None
    recorded: list[Call] = field(default_factory=list)
    offline: bool = False
    prices: Prices = KNOWN
    calls: list[Call] = field(default_factory=list)
    failures: int = 0
    replies: int = 0
    reported: int = 0
    first: int = 0
    root: Trace | None = None
    used: int | None = None
    interview: int | None = None
    keyed: tuple[lm15.Request, str] | None = None
    same: SharedPrompt | None = None

    @property
    def shared(self) -> SharedPrompt | None:
        """The agents that send this request concurrently. None after a reply, because a repair quotes it."""
        return None if self.replies else self.same

    @property
    def question(self) -> Trace:
        """The question of which this is a branch."""
        return self.root or self

    @property
    def attempts(self) -> range:
        """The numbers available to attempts of this branch."""
        return range(self.first, self.first + (BRANCH_ATTEMPTS if self.root else MOST_ATTEMPTS))

    def branch(self, number: int, of: int = 1) -> Trace:
        """Branch `number` of this question, from 0, out of `of` branches with the same prompt; join it when it has
        ended."""
        first = number * BRANCH_ATTEMPTS
        group = (self.run_id, self.year, self.signature, self.agent, "branches", self.first + self.replies)
        same = SharedPrompt(group, of, number, self.agent) if of > 1 else None
        branch = replace(self, first=first, root=self.question, calls=[], failures=0, replies=0, reported=0, same=same)
        branch.recorded = [call for call in self.recorded if call.attempt in branch.attempts]
        return branch

    def join(self, branches: Sequence[Trace]) -> None:
        """Add the calls of `branches` to this question."""
        for branch in branches:
            branch.report()
            self.calls += branch.calls
        self.reported = len(self.calls)

    def use(self, call_id: int | None) -> None:
        """Mark `call` as the one whose answer is used."""
        self.used = call_id

    def sampling_seed(self, request: lm15.Request) -> int | None:
        """A different seed for every attempt, the same whenever the run is played again.

        None in a replay of requests that had none, because the engine that decides this is missing. First attempts with
        the same prompt have consecutive seeds.
        """
        if self.offline and self.recorded and all(call.sampling_seed is None for call in self.recorded):
            return None
        signature = self.signature if self.interview is None else f"{self.signature} {self.interview}"
        same, asker, attempt = self.shared, self.agent, self.first + self.replies
        if same is not None:
            asker, attempt = same.lead, 0
        place = f"{self.seed}/{self.year}/{signature}/{asker}/{attempt}"
        drawn = int.from_bytes(blake2b(place.encode(), digest_size=4).digest())
        return (drawn + (same.number if same is not None else 0)) & 0x7FFFFFFF

    def recall(self, request: lm15.Request) -> lm15.Response | None:
        """The stored reply to an identical request, if there is one, so that no call is paid for twice.

        In a replay (`offline`) a stored failure fails again, and a request that was never made ends the replay.
        """
        self.report()
        if not (self.recorded or self.offline):
            return None
        key = self._key(request)
        for i, call in enumerate(self.recorded):
            if call.response is not None and call.request_key == key:
                self._take(self.recorded[: i + 1], self.recorded[i + 1 :])
                return as_response(call)
        left, self.recorded = self.recorded, []
        own = [call for call in left if call.run_id == self.run_id]
        self._take(own, [])  # they keep their numbers; new attempts follow
        if self.offline:
            if own and not any(call.response for call in own):
                raise lm15.InvalidRequestError(f"as stored: {own[-1].status}")
            raise lm15.ConfigurationError(f"no stored reply to this request ({self.signature}, year {self.year})")
        return None

    def _take(self, taken: list[Call], left: list[Call]) -> None:
        """Turn recorded calls into attempts of this question; of another run's calls, only the reply that is used."""
        taken = [call for call in taken if call.run_id == self.run_id] or taken[-1:]
        self.recorded = left
        self.calls += taken
        self.replies += sum(call.response is not None for call in taken)
        self.reported = len(self.calls)

    def report(self) -> None:
        """Pass on the calls whose outcome is known."""
        for call in self.calls[self.reported :]:
            self.on_call(call)
        self.reported = len(self.calls)

    def attempted(self, attempt: Attempt) -> None:
        error = attempt.error
        self.failures = 0 if error is None else self.failures + 1
        self.replies += error is None
        self.calls.append(
            Call(
                call_id=self._next_id(),
                run_id=self.run_id,
                request_key=self._key(attempt.request),
                year=self.year,
                agent=self.agent,
                role=self.role,
                signature=self.signature,
                strategy=self.strategy,
                program=self.program,
                parsed=None,
                attempt=self.first + len(self.calls),
                **measured(self.model, attempt, self.prices),
            )
        )

    def _key(self, request: lm15.Request) -> str:
        """The request's key, computed once: it is looked up before the request is sent, and stored afterwards."""
        if self.keyed is None or self.keyed[0] is not request:
            self.keyed = request, request_key(self.model, request)
        return self.keyed[1]

    def _next_id(self) -> int:
        """The same question always has the same ids, and later questions have larger ones.

        Interviews have ids that count down from the end of the run's range, which no run reaches.
        """
        if self.interview is not None:
            first = (self.run_id + 1) * RUN_STRIDE - (self.interview + 1) * MOST_ATTEMPTS
            return first + self.first + len(self.calls)
        question = self.year * len(SIGNATURES) + SIGNATURES.index(self.signature)
        place = question * (self.num_agents + 1) + (0 if self.agent is None else self.agent + 1)
        return self.run_id * RUN_STRIDE + place * MOST_ATTEMPTS + self.first + len(self.calls)

    def parsed(self, fields: dict[str, Any]) -> None:
        if self.calls:
            self.calls[-1].parsed = as_json(to_jsonable_python(fields, fallback=str))

    def unparsed(self, reason: str) -> None:
        if self.calls:
            refuse(self.calls[-1], reason)

    @property
    def answered_by(self) -> int | None:
        """The call whose reply was used, if a model was asked."""
        if self.used is not None:
            return self.used
        return self.calls[-1].call_id if self.calls and self.calls[-1].status == "ok" else None


def measured(model: str, attempt: Attempt, prices: Prices) -> dict[str, Any]:
    """The columns of `lm_calls` that follow from the attempt itself."""
    request, response, error = attempt.request, attempt.response, attempt.error
    usage = response.usage if response is not None else None
    used = count(model, usage)
    return {
        "model": model,
        "temperature": request.config.temperature,
        "sampling_seed": request.config.seed,
        "prompt": storable(prompt_text(request)),
        "response": storable(text_of(response)) if response is not None else None,
        "status": "ok" if error is None else kind(error),
        "error": None if error is None else without_secrets(str(error))[:300],
        "prompt_tokens": countable(used.input if used else usage.input_tokens if usage else None),
        "completion_tokens": countable(used.output if used else usage.output_tokens if usage else None),
        "cached_tokens": countable(usage.cache_read_tokens if usage else None),
        "reasoning_tokens": countable(usage.reasoning_tokens if usage else None),
        "cost_usd": prices.cost_usd(model, usage) if error is None else None,
        "latency_ms": attempt.latency_ms,
        "started_at": datetime.fromtimestamp(attempt.started_at, UTC).replace(tzinfo=None),
        "choice": attempt.choice,
        "finish_reason": finish_reason(response, error),
    }


def refuse(call: Call, reason: str) -> None:
    """Record that the reply of `call` could not be used, with the reason why the reply ended."""
    call.status, call.error = "parse_error", told(reason, call.finish_reason, call.response)[:400]


def kind(error: Exception) -> str:
    """A short name for what went wrong."""
    return next((name for kind_, name in KINDS if isinstance(error, kind_)), "error")


def request_key(model: str, request: lm15.Request) -> str:
    """The identity of a request: a hash of the model, all messages and the settings, as 16 hexadecimal digits."""
    config = request.config
    settings = as_json([config.temperature, config.max_tokens, config.seed, config.top_p, config.stop])
    said = as_json([model, str(request.system), *(f"{message.role}: {message.text}" for message in request.messages)])
    text = f"[{said}, {settings[:-1]}, {_schema_text(config.response_format)}]]"
    return blake2b(text.encode(), digest_size=8).hexdigest()


_schema_text = PerObject(lambda schema: as_json(to_jsonable_python(schema, fallback=str)))


def as_response(call: Call) -> lm15.Response:
    """A stored reply in the form in which the model gave it."""
    usage = lm15.Usage(
        input_tokens=call.prompt_tokens,
        output_tokens=call.completion_tokens,
        cache_read_tokens=call.cached_tokens,
        reasoning_tokens=call.reasoning_tokens,
    )
    return stored(call.response or "", call.finish_reason, model=call.model, usage=usage)


def countable(tokens: int | None) -> int | None:
    """A number of tokens, or None if it is impossible."""
    return tokens if tokens is not None and 0 <= tokens < 2**31 else None


def storable(text: str) -> str:
    """`text` without lone surrogates, which broken JSON may contain and no database can store."""
    return text.encode("utf-8", "replace").decode("utf-8")


def prompt_text(request: lm15.Request) -> str:
    """The whole prompt as sent: each message below a line with its role."""
    parts = [f"### system\n{request.system}"] if request.system else []
    parts += [f"### {message.role}\n{message.text}" for message in request.messages]
    return "\n\n".join(parts)


def messages_in(prompt: str) -> list[tuple[str, str]]:
    """The messages of a stored prompt, each with its role: the inverse of `prompt_text`.

    Adapters keep text from outside from looking like the head of a message (programs/adapters/untrusted_text.py).

    >>> messages_in("### system\\nChoose.\\n\\n### user\\nwage: 20")
    [('system', 'Choose.'), ('user', 'wage: 20')]
    """
    parts = HEADS.split(prompt)
    return list(zip(parts[1::2], parts[2::2], strict=True))
