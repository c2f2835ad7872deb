"""Text without characters that control a terminal."""

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters with which text could move a terminal's cursor or reverse the direction of writing."""


def visible(text: str) -> str:
    """`text` with control characters as escapes; tabs and line breaks stay.

    >>> visible("\x1b[2J")
    '\\\\x1b[2J'
    """
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
