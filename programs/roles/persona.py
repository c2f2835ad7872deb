"""The persona writer's program."""

import dspy

from programs.strategies.registry import Strategy
from signatures.persona import WritePersona


class PersonaWriter(dspy.Module):
    """Turns a census record into a persona, with the given strategy."""

    def __init__(self, strategy: Strategy, brackets: int) -> None:
        super().__init__()
        self.write_persona = strategy(WritePersona)
