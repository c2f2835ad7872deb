"""The roles: their programs, and the questions that each is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dspy

from programs.roles.persona import PersonaWriter
from programs.roles.planner import Planner
from programs.roles.voter import Voter
from programs.roles.worker import Worker

PROGRAMS: Mapping[str, Callable[..., dspy.Module]] = {
    "worker": Worker,
    "planner": Planner,
    "voter": Voter,
    "persona": PersonaWriter,
}

QUESTIONS: Mapping[str, tuple[str, str]] = {
    "WritePersona": ("persona", "write_persona"),
    "StandForOffice": ("voter", "stand_for_office"),
    "CastVote": ("voter", "cast_vote"),
    "GovernAsLeader": ("voter", "govern_as_leader"),
    "SetTaxRates": ("planner", "set_tax_rates"),
    "ChooseLabor": ("worker", "choose_labor"),
    "JudgeTaxPolicy": ("worker", "judge_tax_policy"),
}
"""Each signature's role, and the attribute of the role's program that asks it."""

MAIN_QUESTION: Mapping[str, str] = {
    "worker": "ChooseLabor",
    "planner": "SetTaxRates",
    "voter": "CastVote",
    "persona": "WritePersona",
}
"""The question that a module given for a role answers, and for which a role's program is tuned."""
