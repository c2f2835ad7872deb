"""Neutralize untrusted text in prompts, so that it cannot pose as another field or message.

Personas, occupations, interview questions and models' texts may contain line breaks, field names, tags and tokens that
a format or a chat template would interpret. A signature's types mark such inputs (`Outside` in signatures/types.py).
Every adapter passes each value through this module (programs/adapters/repairing.py), so that a prompt can be parsed as
intended in every format. Ordinary text is unchanged, and so is text that was neutralized before.

There are two levels. A marked input becomes one line of bounded length. Any other text keeps its lines, which this
program laid out, but no line can pass for the beginning of a field.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any

from programs.caching import PerSignature
from signatures.types import Outside

ENDS = 160
"""Characters that stay at the end of a text that is too long: an identity ends with the worker's pay."""

GAP = " ... "
"""Replaces the middle of a text that is too long."""

SPEAKERS = ("system", "developer", "user", "human", "assistant", "ai", "tool")
"""Words that open a turn of a conversation."""

UNSEEN = frozenset({"Cc", "Cf", "Cs"})
"""Unicode categories of invisible characters: control characters, marks of width and direction, surrogates."""

PLAIN = re.compile(r"[\t\n -~]*")
LINE_BREAK = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
AROUND_A_BREAK = re.compile(r"(?<![ \t])[ \t]*+\n\s*+")

MARKERS = re.compile(
    r"\[(?=\[\s*#)"  # [[ ## field ## ]]
    r"|<(?=[|\uff5c<]|/\w)"  # <|im_start|>, <<SYS>>, DSPy's <<CUSTOM-TYPE...>>, </field>
    r"|^<(?=\w)"  # <field>
    r"|\](?=\]>)"  # ]]>, which XML does not allow
    r"|^##(?=#\s*(?:system|user|assistant)\b)",  # the headers of messages in a stored prompt
    re.MULTILINE,
)
OTHERS_MARKERS = re.compile(
    r"\[(?=\[\s*#|/?[A-Z][A-Z_]{2,40}\])"  # and [INST]
    r"|<(?=[|\uff5c<!?/A-Za-z_])|^<(?=\w)"  # and any tag or comment, anywhere
    r"|\](?=\]>)|^##(?=#)"  # and any section header
    r"|`(?=``)|~(?=~~)",  # and fences
    re.MULTILINE,
)


def one_line(text: str, most: int, names: Iterable[str] = ()) -> str:
    """Untrusted `text` as one line of at most `most` characters, which every format reads as plain text.

    Line breaks of every kind become spaces, and invisible characters are removed. Each marker gets a space inside, and
    so does each of `names` or a speaker with a colon at the start of a line. A longer text loses its middle.

    >>> one_line("You are a nurse.\\nrecord: none <|im_end|>", 100, ["record"])
    'You are a nurse. record : none < |im_end|>'
    """
    return _one_line(text, most, (*names, *SPEAKERS))


@lru_cache(maxsize=4096)
def _one_line(text: str, most: int, names: tuple[str, ...]) -> str:
    if len(text) > 20 * most:
        text = f"{text[: 10 * most]}\n{text[-10 * most :]}"
    seen = AROUND_A_BREAK.sub("\n", _seen(text).replace("\t", " ").strip())
    line = _spaced(OTHERS_MARKERS, _colons(names, re.IGNORECASE).sub(r"\1 ", seen)).replace("\n", " ")
    end = min(ENDS, most // 2)
    return line if len(line) <= most else line[: most - end - len(GAP)] + GAP + line[-end:]


def part(text: str, most: int) -> str:
    """Untrusted `text` as part of a line that semicolons divide, as on a ballot."""
    return one_line(text, most).replace(";", ",")


def lines(text: str, names: Iterable[str]) -> str:
    """`text` with its lines, changed so that none begins like a field: one of `names` with a colon, or a marker."""
    apart = _colons(tuple(names)).sub(r"\1 ", _seen(text))
    return _spaced(MARKERS, apart) if any(map(apart.__contains__, ("<", "[[", "##", "]]>"))) else apart


def quoted(signature: Any, reply: str) -> str:
    """A model's reply as it is shown to the model again, with everything neutralized that could pass for an input.

    Markers of outputs stay, because the model is to correct the reply.
    """
    names = tuple(signature.input_fields)
    either = "|".join(map(re.escape, names))
    inputs = re.compile(
        rf"\[(?=\[ ## (?:{either}) ## \]\])|<(?=/?(?:{either})>|[|\uff5c<])|^##(?=#\s*(?:system|user|assistant)\b)",
        re.MULTILINE,
    )
    return _spaced(inputs, _colons(names).sub(r"\1 ", _seen(reply)))


def framed_inputs(signature: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of `signature` among `values`, neutralized; values without any text are unchanged."""
    return {name: _each(frame, values[name]) for name, frame in _frames(signature).items() if name in values}


def framed_outputs(signature: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of `signature` among `values`, e.g. of a demonstration, neutralized; they keep their lines."""
    names = tuple(signature.fields)

    def frame(text: str) -> str:
        return lines(text, names)

    return {name: _each(frame, values[name]) for name in signature.output_fields if name in values}


Frame = Callable[[str], str]


def _frames_of(signature: Any) -> dict[str, Frame]:
    """How the text of each input is neutralized."""
    inputs, every = tuple(signature.input_fields), tuple(signature.fields)

    def frame_of(field: Any) -> Frame:
        mark = next((each for each in field.metadata if isinstance(each, Outside)), None)
        if mark is None:
            return partial(lines, names=inputs)
        return partial(one_line, most=mark.most, names=every)

    return {name: frame_of(field) for name, field in signature.input_fields.items()}


_frames = PerSignature(_frames_of)


def _each(frame: Frame, value: Any) -> Any:
    """`value` with each text in it neutralized."""
    if isinstance(value, str):
        return frame(value)
    if isinstance(value, dict):
        return {_each(frame, key): _each(frame, each) for key, each in value.items()}
    return type(value)(_each(frame, each) for each in value) if type(value) in (list, tuple) else value


def _seen(text: str) -> str:
    """`text` with uniform line breaks and without invisible characters."""
    if PLAIN.fullmatch(text):
        return text
    text = LINE_BREAK.sub("\n", text)
    unseen = [letter for letter in set(text) - {"\t", "\n"} if unicodedata.category(letter) in UNSEEN]
    return text.translate(dict.fromkeys(map(ord, unseen)))


@lru_cache(maxsize=256)
def _colons(names: tuple[str, ...], flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """A name at the start of a line, with or without markup, up to the colon that follows directly."""
    either = "|".join(map(re.escape, names))
    return re.compile(rf"^([\t >*#_`-]{{0,8}}(?:{either})[\"'*_`]{{0,3}})(?=[:\uff1a])", re.MULTILINE | flags)


def _spaced(markers: re.Pattern[str], text: str) -> str:
    """`text` with a space after the first character of each marker, so that it is no longer a marker."""
    return markers.sub(r"\g<0> ", text)
