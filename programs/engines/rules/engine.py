"""The `rules` engine: answers the same prompts by simple rules, without a language model.

It reads only the prompt, identifies the question by the output fields that the prompt names, lets a policy
(policies.py) answer, and writes the reply in the format that the prompt demands (prompt_parser.py). It is the default
without a key, replaces a model in tests, and is the baseline that a language model has to beat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from dspy import lm15

from programs.engines.rules import policies, prompt_parser

VERSION = "rules-1"

Policy = Callable[[Mapping[str, str], np.random.Generator], dict[str, Any]]

POLICIES: dict[str, Policy] = {
    "labor": policies.choose_labor,
    "satisfied": policies.judge_tax_policy,
    "stand": policies.stand_for_office,
    "vote": policies.cast_vote,
    "rate_changes": policies.set_tax_rates,
    "persona": policies.write_persona,
    "answer": policies.answer_interview,
    "critique": policies.criticise,
    "advice": policies.advise,
}
"""Policies by the output field that identifies a question; the first one that the prompt names counts."""


class RulesEngine:
    """A synchronous lm15 engine. Raises `lm15.InvalidRequestError` for a question without a policy."""

    supported_params = frozenset({"response_format", "seed"})
    supports_response_schema = True

    def complete(self, request: lm15.Request) -> lm15.Response:
        prompt = "\n".join(message.text or "" for message in request.messages)
        text = reply(str(request.system or ""), [m.text or "" for m in request.messages], request.config.seed)
        usage = lm15.Usage(
            input_tokens=(len(str(request.system or "")) + len(prompt)) // 4,
            output_tokens=max(1, len(text) // 4),
        )
        message = lm15.Message.assistant(text)
        return lm15.Response(id=None, model=VERSION, message=message, finish_reason="stop", usage=usage)


def reply(system: str, messages: list[str], seed: int | None = None) -> str:
    """The answer to a prompt; `messages`: user and assistant texts in order. It depends only on the texts and the
    seed."""
    found = prompt_parser.find(system, messages)
    if found is None:
        return "OK"
    (inputs, outputs), form = found
    policy = next((POLICIES[name] for name in POLICIES if name in outputs), None)
    if policy is None:
        raise lm15.InvalidRequestError(f"rules answers {sorted(POLICIES)}, and the prompt asks for {outputs}")
    digest = hashlib.blake2b("\0".join([str(seed), system, *messages]).encode(), digest_size=8).digest()
    try:
        answer = policy(inputs, np.random.default_rng(int.from_bytes(digest)))
    except policies.UnreadablePrompt as error:
        raise lm15.InvalidRequestError(f"rules cannot answer: {error}") from error
    return form.write({name: answer.get(name, "By the rule for this question.") for name in outputs})
