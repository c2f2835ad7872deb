"""A language model on the CPU of this machine: llama.cpp in this process, through the package xllamacpp.

A process holds one model and one sequence: questions are answered one after another, each with all processors. A
prompt's common prefix with the previous prompt is not computed again (prefix cache). Even so, the same request with the
same seed gets the same reply, whatever was asked before. This requires three things, each of them tested
(tests/agents/test_local.py):

- no flash attention and no repacked weights, because their sums depend on how many tokens are computed at once;
- never a single prompt token, which is computed by a different path than two or more;
- never the tokens of a reply as part of a prompt, because they were computed one by one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import secrets
import threading
import weakref
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from dspy import lm15

CONTEXT = 4096
"""Maximum tokens of a prompt and its reply together; fewer if the model supports fewer."""

BATCH = 512
"""Prompt tokens that are computed at once."""

CUT = 32
"""Characters at the end of a prompt that are computed again if the prompt repeats the previous one: far more than one
token, and far fewer than a prompt."""

SAMPLING = {"top_k": 40, "top_p": 0.95, "min_p": 0.05}
"""llama.cpp's defaults, set explicitly so that another version gives the same replies."""

MEASURED = ("prompt_n", "prompt_ms", "predicted_n", "predicted_ms")
"""The names of llama.cpp's timings of an answer."""

GET_EXTRA = "uv sync --extra local, or pip install 'llm-economist[local]'"

Messages = list[dict[str, str]]


def installed() -> bool:
    """Whether the extra `local` is installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def require_extra(name: str) -> None:
    """ValueError, with the way out, unless the extra `local` is installed and works."""
    if not installed():
        raise ValueError(f"--llm {name} needs the extra local: {GET_EXTRA}")
    try:
        llama_cpp()
    except ImportError as error:  # a system library is missing
        raise ValueError(f"--llm {name}: xllamacpp is installed and cannot be loaded ({error})") from error


class LocalModel:
    """A model in memory, loaded from a GGUF file at the first question. It answers one question at a time, from any
    thread."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.worker = ThreadPoolExecutor(1, "llama")
        self._one_at_a_time = threading.Lock()
        self._server: Any = None
        self._computed: Messages | None = None  # the prompt in the cache, if known
        self.spent: Counter[str] = Counter()
        """What llama.cpp computed so far: `prompt_n` and `predicted_n` tokens, in `prompt_ms` and `predicted_ms`
        milliseconds."""

    def load(self) -> None:
        """Load the model into memory, unless it is there."""
        with self._one_at_a_time:
            self._load()

    def _load(self) -> None:
        if self._server is None:
            self._server = load(self.file)

    def complete(self, request: lm15.Request) -> lm15.Response:
        """The reply; raises lm15 errors, none of which is worth a retry."""
        body = as_body(request)
        with self._one_at_a_time:
            self._load()
            answer = self._answer(body)
        require_held(body, answer)
        return as_response(answer, self.file.name)

    def _answer(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """llama.cpp's answer, as if nothing had been asked before."""
        before, self._computed = self._computed, None
        if before is None:
            body = {**body, "cache_prompt": False}
        else:
            shorter, longer = sorted([before, body["messages"]], key=len)
            if longer[: len(shorter)] == shorter:
                self._ask(forget_the_end_of(shorter))
        try:
            answer = self._ask(body)
            if answer["timings"]["prompt_n"] % BATCH == 1:
                self._ask(forget_the_end_of(body["messages"]))
                answer = self._ask({**body, "cache_prompt": True})
        except lm15.ContextLengthError:
            self._computed = before  # it was refused before any computation
            raise
        self._computed = body["messages"]
        return answer

    def _ask(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = self._server.handle_chat_completions(dict(body))
        except (ValueError, RuntimeError) as error:
            raise lm15.InvalidRequestError(f"llama.cpp: {' '.join(str(error).split())[:300]}") from error
        if "error" in answer:
            raise as_error(answer["error"])
        self.spent.update({name: answer["timings"][name] for name in MEASURED})
        return answer


@cache
def model_of(file: Path) -> LocalModel:
    """The model in `file`: one per process, however many engines use it."""
    return LocalModel(file)


class _Local:
    """The common part of both engines. A copy is the engine itself, because there is one model in memory."""

    supported_params = frozenset({"temperature", "max_tokens", "top_p", "top_k", "stop", "seed", "response_format"})
    supports_response_schema = True
    supports_function_calling = False
    supports_reasoning = False

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def model(self) -> LocalModel:
        return model_of(self.file)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self


class LocalEngine(_Local):
    """Synchronous answers of a local model."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        return self.model.complete(request)


class AsyncLocalEngine(_Local):
    """The same for the event loop, which continues while the model computes in its own thread."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()

    def turn(self) -> asyncio.Lock:
        """The lock that is held during a computation: waiting for it counts neither as latency nor towards the time
        limit."""
        return self._turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    async def complete(self, request: lm15.Request) -> lm15.Response:
        return await asyncio.get_running_loop().run_in_executor(self.model.worker, self.model.complete, request)


def llama_cpp() -> Any:
    """The package xllamacpp. Import it only through this function: its threads read the environment at import."""
    # Spinning threads take the processor from those they wait for: thirty times slower on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import xllamacpp

    return xllamacpp


def load(file: Path) -> Any:
    """A llama.cpp server with `file` in memory, one sequence, and all processors that this process may use."""
    xllamacpp = llama_cpp()
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.n_batch, params.n_ubatch = CONTEXT, 1, BATCH, BATCH
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.no_extra_bufts = True  # no repacked weights
    params.n_gpu_layers, params.no_op_offload, params.fit_params = 0, True, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = processors()
    params.cache_ram_mib = 0  # the prefix cache is the one sequence
    params.verbosity = -1  # nothing on the terminal
    # It also listens on a port of 127.0.0.1, which is not wanted; a random, unknown key closes that port.
    params.api_keys, params.ui, params.n_threads_http = [secrets.token_urlsafe()], False, 1
    params.warmup = False  # the question below has the same effect
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise lm15.ConfigurationError(f"llama.cpp cannot load {file.name}: not a language model, or broken") from error
    # A server that is deleted before its loop runs would wait for that loop forever.
    server.handle_completions({"prompt": "OK", "max_tokens": 1})
    return server


def processors() -> int:
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_body(request: lm15.Request) -> dict[str, Any]:
    """The request in the form of llama.cpp's chat completions. Without a seed, every answer is a new sample."""
    config = request.config
    system = [{"role": "system", "content": str(request.system)}] if request.system else []
    said = [{"role": message.role, "content": message.text or ""} for message in request.messages]
    wanted = {
        "temperature": config.temperature,
        "max_tokens": config.max_tokens,
        "top_p": config.top_p,
        "top_k": config.top_k,
        "seed": config.seed,
        "stop": list(config.stop) or None,
        "grammar": grammar(config.response_format) if config.response_format else None,
    }
    return {"messages": system + said, **SAMPLING, **{key: value for key, value in wanted.items() if value is not None}}


def grammar(response_format: Mapping[str, Any]) -> str:
    """The grammar that makes the reply JSON of a schema, with the spacing of `json.dumps`."""
    schema = response_format.get("schema", {"type": "object"})
    spacing = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    return str(llama_cpp().json_schema_to_grammar({**schema, "x-guidance": spacing}))


def require_held(body: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Raise if a complete reply should be JSON and is not: llama.cpp ignores schemas that it does not understand."""
    choice = answer["choices"][0]
    if "grammar" not in body or "stop" in body or choice["finish_reason"] != "stop":
        return
    try:
        json.loads(choice["message"]["content"])
    except ValueError as error:
        raise lm15.InvalidRequestError("llama.cpp does not understand this JSON schema and left it aside") from error


def forget_the_end_of(messages: Messages) -> dict[str, Any]:
    """A request that removes the end of these messages, and the reply to them, from the cache."""
    *others, last = messages
    cut = {**last, "content": last["content"][:-CUT]}
    return {"messages": [*others, cut], "max_tokens": 0, "cache_prompt": True}


def as_response(answer: Mapping[str, Any], model: str) -> lm15.Response:
    """llama.cpp's answer in DSPy's form, with its tokens."""
    choice, usage = answer["choices"][0], answer["usage"]
    return lm15.Response(
        id=None,
        model=model,
        message=lm15.Message.assistant(choice["message"].get("content") or ""),
        finish_reason="length" if choice["finish_reason"] == "length" else "stop",
        usage=lm15.Usage(
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            cache_read_tokens=usage["prompt_tokens_details"]["cached_tokens"],
        ),
    )


def as_error(error: Mapping[str, Any]) -> lm15.LM15Error:
    """llama.cpp's error in DSPy's form."""
    said = str(error.get("message", error))
    if error.get("type") == "exceed_context_size_error":
        return lm15.ContextLengthError(
            f"the prompt has {error.get('n_prompt_tokens')} tokens and the model's context is {error.get('n_ctx')}"
        )
    if error.get("type") == "invalid_request_error":
        return lm15.InvalidRequestError(f"llama.cpp: {said}")
    return lm15.ProviderError(f"llama.cpp: {said}")
