"""Remove a model's reasoning from its reply: `<think>...</think>{"labor": 40}`.

This happens before any format's parser. The trace keeps the whole reply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import NamedTuple

NAMES = (
    r"(?:\w{1,20}:)?(?:think|thinking|thoughts?|thought[_ -]?process|reason|reasoning|reflection|analysis|scratch_?pad"
    r"|deliberation|inner[_ -]?monologue|chain[_ -]?of[_ -]?thought|cot)"
)
"""Tag names with which models mark reasoning."""

TAG = re.compile(
    rf"<\s{{0,3}}(?P<slash>/?)\s{{0,3}}(?P<name>{NAMES})(?:\s[^<>]{{0,200}})?>"  # <think>, </Thinking >
    rf"|<\|\s?(?P<closes>/|end_of_|end_)?(?:begin_of_|start_)?(?P<piped>{NAMES})(?P<end>_end)?(?:_start)?\s?\|>"
    r"|\[(?P<mark>/?)think(?:ing)?\]"  # [THINK]
    r"|◁(?P<shape>/?)think▷"
    r"|<\|channel\|>\s{0,3}(?P<channel>[a-z]+)(?:\s{0,3}<\|constrain\|>\s{0,3}\w+)?(?:\s{0,3}<\|message\|>)?"
    r"|<\|(?P<token>end|return|call|message|start)\|>(?:assistant)?"
    r"|(?P<stripped>\A\s{0,9}analysis(?=[A-Z])|(?-i:assistant(?:analysis|commentary|final)))",
    re.IGNORECASE,
)
"""The beginning or end of a reasoning block. The last two lines are for gpt-oss: its tokens, and the text that remains
if a server drops them (`analysisWe need ... assistantfinal40`)."""

FENCE = re.compile(r"\A```\w*+\s*+|(?<!\s)\s*+```\Z")


class Spoken(NamedTuple):
    """The answer of a reply. `cut_off`: the reply ends within reasoning. `thought`: it contains reasoning."""

    answer: str
    cut_off: bool = False
    thought: bool = False


def without_thoughts(reply: str, fields: Collection[str] = ()) -> Spoken:
    """The part of `reply` outside of reasoning blocks, in time linear in its length.

    An end tag without a start tag ends a block that began with the reply, and blocks may be nested. A block without an
    end extends to the end of the reply. `fields`: names of tags that are parts of the answer. A reply that is a single
    JSON object has no reasoning: a tag in it is part of one of its texts.

    >>> without_thoughts("<think>12?</think>40").answer
    '40'
    >>> without_thoughts("12?</think>40<think>or not").answer
    '40'
    """
    if TAG.search(reply) is None or _is_object(reply):
        return Spoken(reply)
    kept: list[str] = []
    at = depth = found = 0
    for tag in TAG.finditer(reply):
        if (tag["name"] or "").lower() in fields:
            continue
        if depth == 0:
            kept.append(reply[at : tag.start()])
        at = tag.end()
        channel = tag["channel"] or (tag["stripped"] or "").strip().removeprefix("assistant")
        if channel:
            depth, found = int(channel.lower() != "final"), 1
            kept.clear()
        elif tag["token"]:
            depth = 0 if tag["token"].lower() == "end" else depth
        elif tag["slash"] or tag["closes"] or tag["end"] or tag["mark"] or tag["shape"]:
            if depth == 0:
                kept.clear()
            depth, found = max(0, depth - 1), 1
        else:
            depth, found = depth + 1, 1
    if depth == 0:
        kept.append(reply[at:])
    return Spoken("".join(kept).strip() if found else "".join(kept), depth > 0, bool(found))


def _is_object(reply: str) -> bool:
    try:
        return isinstance(json.loads(FENCE.sub("", reply.strip()), strict=False), dict)
    except (ValueError, RecursionError):
        return False
