"""Parse a prompt and write a reply in each prompt format of programs/adapters/repairing.py.

A new adapter needs an entry here before `rules` can answer it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from programs.adapters import compact

Answer = Mapping[str, Any]


class Question(NamedTuple):
    """The question in a prompt: input fields by name, and the names of the output fields in order."""

    inputs: dict[str, str]
    outputs: list[str]


@dataclass(frozen=True)
class Format:
    """`read(system, message)`: the question in a message, or None if it has none in this format."""

    read: Callable[[str, str], Question | None]
    write: Callable[[Answer], str]


def find(system: str, messages: Sequence[str]) -> tuple[Question, Format] | None:
    """The last question in `messages`, and its format; messages before and after it are ignored.

    Turns alternate, and the last one is the user's, so a model's reply is never taken for a question.
    """
    for message in messages[::-1][::2]:
        for form in FORMATS.values():
            question = form.read(system, message)
            if question is not None:
                return question, form
    return None


# -- DSPy's formats: fields between markers, and a reminder of the outputs at the end ------------------------------

MARKER = re.compile(r"^\[\[ ## (\w+) ## \]\]$", re.MULTILINE)
TAG = re.compile(r"<(/?)(\w+)>")


def _marked(body: str) -> dict[str, str]:
    parts = MARKER.split(body)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _tagged(body: str) -> dict[str, str]:
    """The text between a line `<name>` and the next line `</name>`, in time linear in the length of `body`."""
    lines = body.split("\n")
    tags = [TAG.fullmatch(line) for line in lines]
    ends: dict[str, list[int]] = {}
    for number, tag in reversed(list(enumerate(tags))):
        if tag and tag[1]:
            ends.setdefault(tag[2], []).append(number)
    found, at = {}, 0
    for number, tag in enumerate(tags):
        if number < at or not tag or tag[1]:
            continue
        left = ends.get(tag[2], [])
        while left and left[-1] < number + 2:  # every field has its own line, even an empty one
            left.pop()
        if left:
            found[tag[2]], at = "\n".join(lines[number + 1 : left[-1]]).strip(), left[-1] + 1
    return found


def _reminded(
    fields: Callable[[str], dict[str, str]], reminder: str, output: str
) -> Callable[[str, str], Question | None]:
    """A reader of messages whose last paragraph begins with `reminder`; `output` matches each field that it names."""

    def read(system: str, message: str) -> Question | None:
        body, _, last = message.rpartition("\n\n")
        inputs = fields(body) if last.startswith(reminder) else {}
        return Question(inputs, re.findall(output, last)) if inputs else None

    return read


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _write_chat(answer: Answer) -> str:
    fields = [f"[[ ## {name} ## ]]\n{_text(value)}" for name, value in answer.items()]
    return "\n\n".join([*fields, "[[ ## completed ## ]]"])


def _write_xml(answer: Answer) -> str:
    escaped = {name: _text(value).replace("&", "&amp;").replace("<", "&lt;") for name, value in answer.items()}
    return "\n\n".join(f"<{name}>\n{text}\n</{name}>" for name, text in escaped.items())


# -- the compact format: the system part names the fields -----------------------------------------------------------


def _read_compact(system: str, message: str) -> Question | None:
    told, found, form = system.rpartition(f"\n{compact.REPLY}\n")
    names = [line.partition(":")[0] for line in told.rpartition(f"\n{compact.INPUTS}\n")[2].strip().splitlines()]
    if not found or not any(message.startswith(f"{name}:") for name in names):
        return None
    return Question(_lines(message, names), re.findall(r'"(\w+)": ', form.partition("\n")[0]))


def _lines(message: str, names: Sequence[str]) -> dict[str, str]:
    """The values of the fields `names`, in this order; a value may have several lines."""
    places, at = [], 0
    for name in names:
        if found := re.compile(rf"^{name}:\s", re.MULTILINE).search(message, at):
            places.append((name, found.start(), found.end()))
            at = found.end()
    ends = [start for _, start, _ in places[1:]] + [len(message)]
    return {name: message[begin:end].strip() for (name, _, begin), end in zip(places, ends, strict=True)}


FORMATS: Mapping[str, Format] = {
    "chat": Format(
        _reminded(
            _marked, "Respond with the corresponding output fields, starting", r"`\[\[ ## (?!completed)(\w+) ## \]\]`"
        ),
        _write_chat,
    ),
    "json": Format(_reminded(_marked, "Respond with a JSON object in", r"`(\w+)`"), json.dumps),
    "xml": Format(
        _reminded(_tagged, "Respond with the corresponding output fields wrapped in XML tags", r"`<(\w+)>`"), _write_xml
    ),
    "compact": Format(_read_compact, json.dumps),
}
"""By the names of programs/adapters/repairing.py."""
