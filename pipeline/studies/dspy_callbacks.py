"""DSPy callbacks of a study: record every model call, enforce the budget and follow modules and evaluations.

A key identifies each request: the model, the messages and the settings, DSPy's rollout, and how often the same question
(one call of a program) has made this request before. So the reply to a request does not depend on which thread came
first, a repeated request is paid for once, and samples that DSPy wants to differ do differ.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from hashlib import blake2b
from typing import Any, TypeVar, cast

import dspy
from dspy import lm15
from dspy.utils import exceptions as dspy_errors
from dspy.utils.callback import BaseCallback
from pydantic_core import to_jsonable_python

from pipeline.agents.agents import QUIET
from pipeline.agents.budget import Amount, Capped
from pipeline.agents.call_trace import as_response, measured, refuse, request_key
from pipeline.agents.model_errors import cannot_use
from pipeline.errors import ModelError
from pipeline.parallel.interrupts import was_interrupted
from pipeline.store.call_rows import Call
from pipeline.store.columns import as_json
from pipeline.studies.call_tree import CallNode, Evaluated, EvaluationUsage
from pipeline.studies.study import Study
from programs.calls.context import CallContext, call_context, entered
from programs.calls.protocols import Attempt
from programs.dspy_versions import ACTIVE_CALL_ID
from programs.engines.connections import hang_up
from programs.models import without_secrets

MANY = 10**9
"""Errors after which DSPy stops: effectively unlimited, because an unusable answer just scores 0."""

LAST_REPLIES = 1.0
"""Seconds for which an interrupted study waits for pending replies."""

OPTIMIZER = "optimizer"
"""The role of an optimizer's own calls: proposals of instructions, reflections."""

Handler = TypeVar("Handler", bound=Callable[..., None])


def _guarded(handler: Handler) -> Handler:
    """Make an error in a callback halt the study; DSPy would ignore it."""

    @wraps(handler)
    def guarded(self: StudyCallbacks, *args: Any, **kwargs: Any) -> None:
        try:
            handler(self, *args, **kwargs)
        except Exception as error:  # without this callback the study would be wrong
            self.study.halt(error)

    return cast(Handler, guarded)


class StudyCallbacks(BaseCallback):
    """Recorder, budget guard and callback in one; `open` makes DSPy use it.

    `kind`: the class of the tuned program; other modules belong to the optimizer. `on_evaluated` is called after every
    whole evaluation. `asked`: the program that this thread called last.
    """

    def __init__(self, study: Study, kind: type[dspy.Module], on_evaluated: Callable[[Evaluated], None]) -> None:
        self.study, self.kind, self.on_evaluated = study, kind, on_evaluated
        self.nodes: dict[str, CallNode] = {}
        self.ended = threading.Event()
        self.thread = threading.local()

    @contextmanager
    def open(self, *, lm: dspy.LM, adapter: dspy.Adapter, threads: int) -> Iterator[StudyCallbacks]:
        """Within the block, DSPy asks `lm` with `adapter` in at most `threads` threads. Later questions are refused.

        When DSPy stops early, it leaves threads behind; they get no more replies, and their pending paid calls are
        awaited.
        """
        context = CallContext(attempts=self, replies=self, budget=self)
        here = {"callbacks": [self], "max_errors": MANY, "num_threads": threads}
        try:
            with entered(context, lm=lm, adapter=adapter, **QUIET, **here):
                yield self
            self.study.check()
        finally:
            self._close()

    def _close(self) -> None:
        self.ended.set()
        with self.study.changed:
            self.study.changed.notify_all()
        while not self.study.allowance.wait_until_quiet(LAST_REPLIES):
            if was_interrupted():  # repeatedly: a request may have been between two connections
                hang_up()
        for node in list(self.nodes.values()):
            self._store(node)

    @property
    def asked(self) -> dspy.Module | None:
        return getattr(self.thread, "program", None)

    # The call tree

    def _begin(self, kind: str, call_id: str, instance: Any = None) -> CallNode:
        node = CallNode(kind, call_id, self.nodes.get(ACTIVE_CALL_ID.get()), instance)
        self.nodes[call_id] = node
        return node

    @property
    def here(self) -> CallNode:
        """The current node of DSPy's call tree."""
        return self.nodes[ACTIVE_CALL_ID.get()]

    @_guarded
    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        examples = inputs["devset"] if inputs["devset"] is not None else instance.devset
        self._begin("evaluation", call_id).taken = EvaluationUsage(inputs["program"], examples)

    @_guarded
    def on_evaluate_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        taken = self.nodes.pop(call_id).taken
        if outputs is not None and taken is not None:
            predictions = tuple(_prediction(said) for _, said, _ in outputs.results)
            self.on_evaluated(Evaluated(taken, tuple(float(score) for *_, score in outputs.results), predictions))

    @_guarded
    def on_compile_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin("compile", call_id)

    @_guarded
    def on_compile_end(self, call_id: str, outputs: Any | None, exception: Exception | None = None) -> None:
        del self.nodes[call_id]

    @_guarded
    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        node = self._begin("module", call_id, instance)
        if node.question is node:
            self.thread.program = instance

    @_guarded
    def on_module_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        node = self.nodes[call_id]
        self._store(node)
        del self.nodes[call_id]
        if isinstance(exception, Exception) and isinstance(node.instance, self.kind) and not _expected(exception):
            what = f"{type(exception).__name__}: {without_secrets(str(exception))[:200]}"
            self.study.halt(ModelError(f"strategy {self.study.row['strategy']} failed ({what})"))

    @_guarded
    def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._begin("parse", call_id)

    @_guarded
    def on_adapter_parse_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        del self.nodes[call_id]

    @_guarded
    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        node = self._begin("model", call_id, instance)
        node.rollout = {**instance.kwargs, **(inputs.get("kwargs") or {})}.get("rollout_id")

    @_guarded
    def on_lm_end(self, call_id: str, outputs: Any | None, exception: BaseException | None = None) -> None:
        node = self.nodes[call_id]
        self._store(node)
        del self.nodes[call_id]
        if isinstance(exception, dspy_errors.LMError) and not _of_the_prompt(exception):
            self.study.halt(ModelError(cannot_use(node.instance.model, exception)))

    # AttemptRecorder and ReplyRecorder

    @property
    def failures(self) -> int:
        return self.here.failures

    @property
    def question(self) -> object:
        return self.here.question

    @property
    def shared(self) -> None:
        """None: a study's threads do not combine identical prompts."""
        return None

    def sampling_seed(self, request: lm15.Request) -> int:
        return self.study.seed_of(self._key(request))

    def _key(self, request: lm15.Request) -> str:
        """The identity of this request of this question, as 16 hexadecimal digits."""
        model = self.here
        context, plain = call_context(), replace(request, config=replace(request.config, seed=None))
        asked = as_json([request_key(request.model, plain), str(model.rollout), context.sample, context.asked])
        with self.study.changed:
            claims = model.question.claims.setdefault(asked, [])
            claim = (model.id, model.replies)  # a repetition after a failure is the same request
            if claim not in claims:
                claims.append(claim)
            return blake2b(f"{asked}/{claims.index(claim)}".encode(), digest_size=8).hexdigest()

    def recall(self, request: lm15.Request) -> lm15.Response | None:
        """The reply to this request if it was made before; if another thread is making it, wait for that."""
        model = self.here
        self._store(model.enclosing_module)
        model.key = self._key(request)
        with self.study.changed:
            while self._free() and self.study.in_flight.get(model.key, model.id) != model.id:
                self.study.changed.wait()
            known = self.study.replies.get(model.key)
            if known is None:
                self.study.in_flight[model.key] = model.id
                return None
        self._took(model, known)
        return as_response(known)

    def _free(self) -> bool:
        """True, unless no more questions may be asked."""
        self.study.check()
        if self.ended.is_set():
            raise Capped("this phase of the study has ended")
        return True

    def _took(self, model: CallNode, call: Call) -> None:
        """Record a reply, new or stored, in the nodes of its request."""
        model.replies += 1
        model.failures = 0
        with self.study.changed:
            for taken in (node.taken for node in model.above if node.taken is not None):
                taken.calls += 1
                taken.tokens += (call.prompt_tokens or 0) + (call.completion_tokens or 0)
                taken.cost_usd += call.cost_usd or 0.0

    def attempted(self, attempt: Attempt) -> None:
        model = self.here
        enclosing_module = model.enclosing_module
        call = self._call(model, enclosing_module, attempt)
        model.attempts += 1
        if attempt.error is not None:
            model.failures += 1
            self._keep(call)
            return
        with self.study.changed:
            self.study.replies[model.key] = call
        enclosing_module.call = call
        self._took(model, call)

    def described(self, model: CallNode, enclosing_module: CallNode) -> dict[str, str]:
        """Role, signature and strategy of a call, as stored."""
        signature = getattr(enclosing_module.instance, "signature", None)
        answers = signature is not None and self.study.output in signature.output_fields
        own = isinstance(model.question.instance, self.kind)
        fields = signature.output_fields if signature is not None else ()
        known = next((known for name, known in self.study.questions.items() if name in fields), None)
        if own and known is not None:
            return {"role": known[0], "signature": known[1], "strategy": self.study.row["strategy"]}
        return {
            "role": self.study.row["role"] if own else OPTIMIZER,
            "signature": self.study.row["question"] if answers else getattr(signature, "__name__", "Text"),
            "strategy": self.study.row["strategy"] if own else "io",
        }

    def _call(self, model: CallNode, enclosing_module: CallNode, attempt: Attempt) -> Call:
        what = self.described(model, enclosing_module)
        return Call(
            call_id=self.study.next_id(),
            run_id=0,
            request_key=model.key,
            year=0,
            agent=None,
            role=what["role"],
            signature=what["signature"],
            strategy=what["strategy"],
            program=None,
            parsed=None,
            attempt=model.attempts,
            **measured(attempt.request.model, attempt, self.study.prices),
        )

    def parsed(self, fields: dict[str, Any]) -> None:
        enclosing_module = self.here.enclosing_module
        if enclosing_module.call is not None:
            enclosing_module.call.parsed = as_json(to_jsonable_python(fields, fallback=str))
            self._store(enclosing_module)

    def unparsed(self, reason: str) -> None:
        enclosing_module = self.here.enclosing_module
        with self.study.changed:
            for taken in (node.taken for node in enclosing_module.above if node.taken is not None):
                taken.unparsed += 1
        if enclosing_module.call is not None:
            refuse(enclosing_module.call, reason)
            self._store(enclosing_module)

    def _store(self, enclosing_module: CallNode) -> None:
        """Store the last reply, whether or not its outcome is known."""
        with self.study.changed:  # so that a phase that is closing waits for it
            call, enclosing_module.call = enclosing_module.call, None
            if call is not None:
                self._keep(call)

    def _keep(self, call: Call) -> None:
        try:
            self.study.keep(call)
        except Exception as error:
            self.study.halt(error)
        self.study.check()

    # BudgetGuard

    def admit_now(self, request: lm15.Request) -> Amount:
        try:
            return self.study.allowance.admit(request)
        except BaseException:
            self._let_go()
            raise

    async def admit(self, request: lm15.Request, question: object) -> Amount:
        try:
            return await self.study.allowance.admit_async(request)
        except BaseException:
            self._let_go()
            raise

    def check(self) -> None:
        self._free()

    def settle(self, reserved: Amount, request: lm15.Request, outcome: lm15.Response | BaseException) -> None:
        self.study.allowance.settle(reserved, request, outcome)
        self._let_go()

    def _let_go(self) -> None:
        """Release the threads that wait for this request."""
        with self.study.changed:
            self.study.in_flight.pop(self.here.key, None)
            self.study.changed.notify_all()


def _prediction(said: Any) -> dspy.Prediction:
    """A program's answer in an evaluation, without its trace; empty if it was unusable."""
    answer = said[0] if isinstance(said, tuple) else said
    return answer if isinstance(answer, dspy.Prediction) else dspy.Prediction()


def _expected(error: Exception) -> bool:
    """Whether this failure concerns one question only. DSPy itself fails on a reply that could be parsed in part."""
    kinds = (dspy_errors.AdapterParseError, dspy_errors.LMError)
    return isinstance(error, kinds) or isinstance(error.__context__, dspy_errors.AdapterParseError)


def _of_the_prompt(error: dspy_errors.LMError) -> bool:
    """Whether a request was refused for its contents: that program scores 0, and others may do better."""
    refused = isinstance(error, dspy_errors.LMInvalidRequestError)
    return refused and not isinstance(error, dspy_errors.LMUnsupportedModelError)
