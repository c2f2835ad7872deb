"""Names of models that run in this process."""

from pathlib import Path

RULES = "rules"
"""The rules of programs/engines/rules, which replace a language model."""

HUMAN = "human"
"""A person who answers in the terminal (programs/engines/human.py)."""

SMOLLM2 = "smollm2"
GGUF_PREFIX = "gguf:"
"""Prefix of the path of a file with weights."""


def without_folder(name: str) -> str:
    """The name of a model whose file, if it is one, is named without its folder.

    >>> without_folder("gguf:/models/a.gguf"), without_folder("openai/gpt-4o-mini")
    ('gguf:a.gguf', 'openai/gpt-4o-mini')
    """
    if not name.startswith(GGUF_PREFIX):
        return name
    return GGUF_PREFIX + Path(name.removeprefix(GGUF_PREFIX)).name


def is_local(name: str) -> bool:
    """Whether the weights of the model `name` are evaluated in this process.

    >>> is_local("smollm2"), is_local("gguf:/models/a.gguf"), is_local("gpt-4o-mini"), is_local("rules")
    (True, True, False, False)
    """
    return name == SMOLLM2 or name.startswith(GGUF_PREFIX)
