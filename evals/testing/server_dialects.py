"""How real model servers differ from OpenAI's, for the test and benchmark server (openai_server.py).

A dialect says which fields of a request a server refuses and with which error, which it ignores, and what it adds to an
answer. `python -m evals.testing.openai_server --dialect Mistral` serves one. Facts are from public reports about these
servers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evals.testing.server_replies import Reply, by_rules, completion

Request = Mapping[str, Any]
Body = dict[str, Any]
Wording = Callable[[str, Request], Body | list[Any]]
"""(the refused field, the request) -> the body of the error."""

LISTED = ("model", "messages", "temperature", "max_tokens", "top_p", "stop", "stream", "response_format", "n")
"""Fields that a strict server declares."""

MESSAGES = ("model", "messages", "system", "max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "stream")
"""Fields of Anthropic's protocol that are used here."""


# -- how errors are worded --------------------------------------------------------------------------------------------


def openai_error(name: str, request: Request) -> Body:
    """OpenAI's form, with the field in `param`."""
    other = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    told = f"Unsupported parameter: '{name}' is not supported with this model.{other}"
    return {"error": {"message": told, "type": "invalid_request_error", "param": name, "code": "unsupported_parameter"}}


def fastapi_detail(name: str, request: Request) -> Body:
    """FastAPI's form: no `error`, but a list of problems and their locations."""
    wrong = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
    return {"detail": [{**wrong, "input": request.get(name)}]}


def plain(told: str) -> Wording:
    """OpenAI's form with the server's own message."""
    return lambda name, request: {"error": {"message": told, "type": "invalid_request_error", "code": None}}


def flat(told: str, status: int) -> Wording:
    """The form of vLLM and SGLang before they adopted OpenAI's."""
    return lambda name, request: {
        "object": "error",
        "message": told,
        "type": "BadRequestError",
        "param": None,
        "code": status,
    }


def google(name: str, request: Request) -> list[Any]:
    """Google's form: a list of one."""
    told = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
    return [{"error": {"code": 400, "message": told, "status": "INVALID_ARGUMENT"}}]


def routed(told: str) -> Wording:
    """OpenRouter's form: the message of the upstream provider is in `metadata`."""
    raw = json.dumps({"error": {"message": told}})
    metadata = {"raw": raw, "provider_name": "Provider"}
    return lambda name, request: {"error": {"message": "Provider returned error", "code": 400, "metadata": metadata}}


# -- what is refused --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """Requests with a `field` are answered with `status` and an error; `when` limits which of them."""

    field: str
    status: int = 400
    wording: Wording = openai_error
    when: Callable[[Request], bool] | None = None

    def meets(self, request: Request) -> bool:
        """Whether `request` is refused for this field."""
        return self.when(request) if self.when is not None else self.field in request


def has_system(request: Request) -> bool:
    """Whether a request has a system message."""
    return any(message["role"] in ("system", "developer") for message in request["messages"])


def has_schema(request: Request) -> bool:
    """Whether a request demands a reply in a schema."""
    return "json_schema" in request.get("response_format", {})


def wants_several(request: Request) -> bool:
    """Whether a request asks for several samples."""
    return int(request.get("n") or 1) > 1


def unlisted(request: Request) -> str | None:
    """The first field that a strict server does not declare."""
    return next((name for name in request if name not in LISTED), None)


# -- what is put around answers ---------------------------------------------------------------------------------------


def as_it_is(text: str) -> Body:
    """The answer alone."""
    return {"content": text}


def thinking(text: str) -> Body:
    """Thoughts before the answer, with a number that is not the answer."""
    return {"content": f"<think>\nLet me see. 12 hours would be too few.\n</think>\n\n{text}"}


def reasoning(text: str) -> Body:
    """Thoughts in a separate field."""
    return {"content": text, "reasoning_content": "12 hours would be too few."}


def fenced(text: str) -> Body:
    """JSON answers inside a code fence, others unchanged."""
    return {"content": f"```json\n{text}\n```" if text.lstrip().startswith("{") else text}


def in_parts(text: str) -> Body:
    """The content as a list of parts."""
    return {"content": [{"type": "text", "text": text}]}


# -- the dialects -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dialect:
    """A kind of server. `adapted`: the parts of a request (programs/calls/optional_parts.py) that a run leaves out for
    it.

    `ignores`: fields without effect. `around`: what surrounds an answer. `usage`: whether it reports tokens. `strict`:
    whether it refuses every undeclared field. `prefix`: of the provider, before the model's name.
    """

    does: str
    adapted: tuple[str, ...] = ()
    refuses: tuple[Refusal, ...] = ()
    ignores: frozenset[str] = frozenset()
    around: Callable[[str], Body] = as_it_is
    usage: bool = True
    strict: bool = False
    model: str = "gpt-4o-mini"
    extra: Body = field(default_factory=dict)
    prefix: str = ""

    def __call__(self, number: int, request: Request) -> Reply:
        """The server's reply to a request: an error, or the answer of the rules in its own form."""
        for refusal in self.refuses:
            if refusal.meets(request):
                return _json(refusal.status, refusal.wording(refusal.field, request))
        if self.strict and (name := unlisted(request)) is not None:
            return _json(422, fastapi_detail(name, request))
        heard = {name: value for name, value in request.items() if name not in self.ignores}
        return self._answered(_answers(heard), heard)

    def _answered(self, texts: list[str], request: Body) -> Reply:
        reply = completion(texts, request)
        body = json.loads(reply.body)
        for choice, text in zip(body["choices"], texts, strict=True):
            choice["message"] = {"role": "assistant", **self.around(text)}
        if not self.usage:
            del body["usage"]
        return _json(reply.status, body | self.extra)


class Messages(Dialect):
    """A server with Anthropic's protocol (`/v1/messages`) instead of OpenAI's."""

    def __call__(self, number: int, request: Request) -> Reply:
        """An answer, or an error that names a field missing from the protocol."""
        for name in request:
            if name not in MESSAGES:
                told = {"type": "invalid_request_error", "message": f"{name}: Extra inputs are not permitted"}
                return _json(400, {"type": "error", "error": told})
        asked = [{"role": "system", "content": _text(request.get("system", ""))}]
        asked += [{"role": each["role"], "content": _text(each["content"])} for each in request["messages"]]
        text = by_rules({"messages": asked})
        usage = {"input_tokens": sum(len(each["content"]) for each in asked) // 4, "output_tokens": len(text) // 4 + 1}
        body = {"id": "msg_1", "type": "message", "role": "assistant", "model": request["model"], "usage": usage}
        return _json(200, {**body, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"})


def _text(content: Any) -> str:
    """Content as text, from a text or a list of text blocks."""
    return content if isinstance(content, str) else "\n".join(block["text"] for block in content)


def _json(status: int, body: Body | list[Any]) -> Reply:
    return Reply(status, json.dumps(body).encode())


def _answers(request: Body) -> list[str]:
    """The requested number of answers, with consecutive seeds if there are seeds."""
    seed = request.get("seed")
    seeds = [None if seed is None else seed + number for number in range(request.get("n") or 1)]
    return [by_rules({**request, "seed": each}) for each in seeds]


_SYSTEM_ROLE = "System role not supported"

DIALECTS: Mapping[str, Dialect] = {
    "OpenAI": Dialect("accepts every field"),
    "OpenAI reasoning": Dialect(
        "refuses `temperature`, `seed`, `max_tokens` and `n`; counts reasoning among the tokens",
        ("seed", "n", "temperature"),
        tuple(Refusal(name) for name in ("temperature", "seed", "max_tokens", "n")),
        model="my-reasoner",  # an alias that does not reveal the model
    ),
    "Azure": Dialect(
        "refuses a `temperature` other than 1 for deployments of reasoning models; adds the findings of its filters",
        ("temperature",),
        (
            Refusal(
                "temperature",
                wording=plain(
                    "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value "
                    "is supported."
                ),
            ),
        ),
        extra={"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]},
        model="my-deployment",
    ),
    "Mistral": Dialect(
        "refuses `seed` (it has `random_seed`) and `max_completion_tokens` with status 422 and a `detail`",
        ("seed", "max_completion_tokens"),
        (Refusal("seed", 422, fastapi_detail), Refusal("max_completion_tokens", 422, fastapi_detail)),
        model="mistral-small",
    ),
    "Gemini": Dialect(
        "refuses `seed`; returns an error inside a list",
        ("seed",),
        (Refusal("seed", 400, google),),
        model="gemini-flash",
    ),
    "OpenRouter": Dialect(
        "passes on a provider's refusal of a schema, in `metadata`",
        ("schema",),
        (Refusal("response_format", 400, routed("response_format is not available for this provider"), has_schema),),
        around=reasoning,
        model="vendor/model",
    ),
    "Ollama": Dialect(
        "ignores `n` and the token limit `max_completion_tokens`",
        (),
        ignores=frozenset({"n", "max_completion_tokens"}),
        model="qwen2.5",
    ),
    "vLLM": Dialect("accepts every field; may return the content in parts", around=in_parts, model="meta/llama"),
    "llama.cpp": Dialect(
        "fails on schemas (500 `failed to parse grammar`); does not support `n`, and reports no usage",
        ("schema", "n"),
        (
            Refusal("response_format", 500, plain("failed to parse grammar"), has_schema),
            Refusal("n", 501, plain("This feature is not implemented"), wants_several),
        ),
        usage=False,
        model="local-gguf",
    ),
    "LM Studio": Dialect(
        "refuses a schema with an error that does not name it; puts JSON into code fences",
        ("schema",),
        (Refusal("response_format", 400, plain("Channel Error"), has_schema),),
        around=fenced,
        ignores=frozenset({"n"}),
        model="lm-studio",
    ),
    "DeepSeek": Dialect(
        "has `json_object` but no `json_schema`; returns its reasoning as `reasoning_content`",
        ("schema",),
        (Refusal("response_format", 400, plain("This response_format type is unavailable now"), has_schema),),
        around=reasoning,
        model="deepseek-chat",
    ),
    "R1 distilled": Dialect(
        "writes its reasoning as `<think>...</think>` before the answer", around=thinking, model="deepseek-r1"
    ),
    "Anthropic": Messages(
        "has its own protocol (`--llm anthropic/MODEL`) without `seed` and `n`; older models refuse a schema",
        ("schema",),
        model="claude-sonnet",
        prefix="anthropic/",
    ),
    "strict FastAPI": Dialect(
        "refuses every undeclared field with status 422 and a `detail`",
        ("seed", "max_completion_tokens"),
        strict=True,
        model="strict",
    ),
    "Gemma": Dialect(
        "has no system role; its error message has no `error` field",
        ("system",),
        (Refusal("messages", 400, flat(_SYSTEM_ROLE, 400), has_system),),
        model="gemma",
    ),
}
"""Every dialect by its name."""


def table() -> str:
    """The dialects as the Markdown table in docs/endpoints.md."""
    lines = ["| a server like | does | a run leaves out |", "|---|---|---|"]
    for name, dialect in DIALECTS.items():
        left_out = ", ".join(f"`{part}`" for part in dialect.adapted) or "nothing"
        lines.append(f"| {name} | {dialect.does} | {left_out} |")
    return "\n".join(lines)
