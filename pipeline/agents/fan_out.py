"""Ask the questions of a year to many agents concurrently, and mark those that get identical prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.agents.question import Answer, Answerer, Question
from programs.calls.protocols import SharedPrompt


async def ask_all(
    llm_agents: Answerer, name: str, asked: Iterable[tuple[int, Mapping[str, Any]]], *, year: int
) -> list[Answer]:
    """The answers to the question `name`, asked of each agent with its inputs, in the order of `asked`.

    Agents with identical inputs follow each other, so that their requests are sent together (`SharedPrompt`).
    """
    groups: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    shown: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for place, (agent, inputs) in enumerate(asked):
        key = tuple(inputs.items())
        groups.setdefault(key, []).append((place, agent))
        shown[key] = inputs
    tasks: dict[int, asyncio.Future[Answer]] = {}
    for key, members in groups.items():
        lead, count = members[0][1], len(members)
        for number, (place, agent) in enumerate(members):
            shared = SharedPrompt((year, name, lead), count, number, lead) if count > 1 else None
            question = Question(name, shown[key], year, agent, shared=shared)
            tasks[place] = asyncio.ensure_future(llm_agents.ask(question))
    return await asyncio.gather(*(tasks[place] for place in sorted(tasks)))
