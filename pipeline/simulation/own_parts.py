"""Import the parts of the user's own that an economy needs: its welfare function, its tax law, its election rule.

Until then, they are in no registry; whatever reads a stored run makes its economy by `create` and comes through here.
"""

from __future__ import annotations

from pipeline.config import RunConfig
from pipeline.economy.baselines import BASELINES, FORMULAS
from pipeline.economy.user_parts.welfare import WHY_WEIGHTS
from pipeline.economy.welfare import WELFARE, own_function
from pipeline.errors import UsageError
from pipeline.permissions import refuse_parts
from pipeline.simulation.elections.rules import ELECTION_RULES

PLANNERS_WITHOUT_A_PART = ("LLM", "RATES", "SAEZ_MEASURED")


def take_parts(config: RunConfig) -> None:
    """Import and check the parts that `config` names. UsageError in one line, before any import if not allowed."""
    refuse_parts(config)
    try:
        WELFARE.take(config.welfare)
        ELECTION_RULES.take(config.election_rule)
        if config.planner_type not in PLANNERS_WITHOUT_A_PART:
            BASELINES.take(config.planner_type)
    except ValueError as error:
        raise UsageError(str(error)) from error
    own = own_function(config.welfare)
    if own is not None and config.planner_type in FORMULAS and not own.has_weights:
        raise UsageError(
            f"--planner-type {config.planner_type} does not fit --welfare {config.welfare}: it has no attribute "
            f"`weights`, {WHY_WEIGHTS}"
        )
