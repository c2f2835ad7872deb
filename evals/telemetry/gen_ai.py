"""Attributes of OpenTelemetry's semantic conventions for generative AI, version 1.41.0, from a row of `lm_calls`.

https://github.com/open-telemetry/semantic-conventions/blob/v1.41.0/docs/gen-ai/README.md. What the conventions have no
name for is in the namespace `llm_economist`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pipeline.agents.call_trace import messages_in
from pipeline.store.columns import Row
from programs.calls.model_names import HUMAN, RULES, is_local, without_folder
from programs.secrets import blotted, without_secrets
from programs.urls import each_url

SCHEMA = "https://opentelemetry.io/schemas/1.41.0"

PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex_ai": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""The conventions' names of providers that differ from the prefixes of models."""

Attributes = dict[str, Any]

ERROR = 300
"""The most characters of an error."""


def present(attributes: Mapping[str, Any]) -> Attributes:
    """Without those that have no value."""
    return {name: value for name, value in attributes.items() if value is not None}


def provider(model: str) -> str:
    """The conventions' name of who serves a model; a server with OpenAI's protocol counts as openai.

    >>> provider("gpt-4o-mini"), provider("gemini/gemini-2.0-flash"), provider("smollm2"), provider("rules")
    ('openai', 'gcp.gemini', 'llama.cpp', 'rules')
    """
    if model in (RULES, HUMAN):
        return model
    if is_local(model):
        return "llama.cpp"
    prefix, slash, _ = model.partition("/")
    return PROVIDERS.get(prefix, prefix) if slash else "openai"


def in_process(model: str) -> bool:
    """Whether no request leaves this process for the model."""
    return model in (RULES, HUMAN) or is_local(model)


def server(config: Mapping[str, Any]) -> Attributes:
    """The address of the models' server, if the settings name one for all of them."""
    urls = each_url(config.get("base_url"))
    if len(urls) != 1 or config.get("role_llm"):
        return {}
    parts = urlsplit(urls[0])
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return present({"server.address": parts.hostname, "server.port": port})


def of_question(calls: Sequence[Row]) -> Attributes:
    """Of the question whose attempts are `calls`: an agent is invoked."""
    first = calls[0]
    return present(
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": provider(first["model"]),
            "gen_ai.agent.name": first["role"],
            "gen_ai.agent.id": None if first["agent"] is None else str(first["agent"]),
            "gen_ai.request.model": without_folder(first["model"]),
            "gen_ai.usage.input_tokens": _total(calls, "prompt_tokens"),
            "gen_ai.usage.output_tokens": _total(calls, "completion_tokens"),
            "error.type": None if answered(calls) else calls[-1]["status"],
            "llm_economist.year": first["year"],
            "llm_economist.question": first["signature"],
            "llm_economist.strategy": first["strategy"],
            "llm_economist.program": first["program"],
            "llm_economist.attempts": len(calls),
            "llm_economist.cost_usd": _total(calls, "cost_usd"),
        }
    )


def answered(calls: Sequence[Row]) -> bool:
    return any(call["status"] == "ok" for call in calls)


def _total(calls: Sequence[Row], column: str) -> Any:
    known = [call[column] for call in calls if call[column] is not None]
    return sum(known) if known else None


def of_attempt(call: Row) -> Attributes:
    """Of one call of a model: an inference."""
    return present(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider(call["model"]),
            "gen_ai.request.model": without_folder(call["model"]),
            "gen_ai.request.temperature": call["temperature"],
            "gen_ai.request.seed": call["sampling_seed"],
            "gen_ai.response.finish_reasons": [call["finish_reason"]] if call["finish_reason"] else None,
            "gen_ai.usage.input_tokens": call["prompt_tokens"],
            "gen_ai.usage.output_tokens": call["completion_tokens"],
            "gen_ai.usage.cache_read.input_tokens": call["cached_tokens"],
            "gen_ai.usage.reasoning.output_tokens": call["reasoning_tokens"],
            "error.type": None if call["status"] == "ok" else call["status"],
            "llm_economist.call_id": call["call_id"],
            "llm_economist.attempt": call["attempt"],
            "llm_economist.choice": call["choice"],
            "llm_economist.cost_usd": call["cost_usd"],
            **dict(_content(call)),
        }
    )


def error_of(call: Row) -> str:
    """What went wrong in a call, in one line without keys."""
    return without_secrets(call["error"] or call["status"])[:ERROR]


def _content(call: Row) -> Iterator[tuple[str, str]]:
    """Prompt and reply in the conventions' JSON, where they were read; keys are blotted out."""
    if (prompt := call.get("prompt")) is not None:
        messages = messages_in(blotted(prompt)) or [("user", blotted(prompt))]
        if system := [_part(text) for role, text in messages if role == "system"]:
            yield "gen_ai.system_instructions", json.dumps(system)
        asked = [{"role": role, "parts": [_part(text)]} for role, text in messages if role != "system"]
        yield "gen_ai.input.messages", json.dumps(asked)
    if (reply := call.get("response")) is not None:
        said = {"role": "assistant", "parts": [_part(blotted(reply))], "finish_reason": call["finish_reason"] or "stop"}
        yield "gen_ai.output.messages", json.dumps([said])


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def regret(decision: Row) -> Attributes:
    """Of the event that evaluates a worker's choice of hours: regret is the utility that it gave away."""
    return present(
        {
            "gen_ai.evaluation.name": "regret",
            "gen_ai.evaluation.score.value": decision["regret"],
            "llm_economist.labor": decision["labor"],
            "llm_economist.best_labor": decision["best_labor"],
            "llm_economist.utility": decision["utility"],
            "llm_economist.best_utility": decision["best_utility"],
            "llm_economist.fallback": decision["fallback"],
        }
    )
