"""The public Python interface: play economies, ask their database, tune agents with DSPy. See docs/python.md.

Each name is loaded when it is first used, so that the import takes milliseconds.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it; to import `typing` takes longer than all else here
if TYPE_CHECKING:
    from typing import Any

    from evals.datasets.simulated import Dataset
    from evals.python.database import Database, Run
    from evals.python.database import open_database as open
    from evals.python.people import People, people
    from evals.python.simulate import simulate
    from evals.python.state import state
    from evals.python.studies import compare, optimize
    from evals.python.tuning import dataset, metric, save_program
    from pipeline.errors import EconomistError, ModelError, StoreError, UsageError
    from pipeline.stackelberg import Stackelberg
    from signatures.interview import AnswerInterview
    from signatures.persona import WritePersona
    from signatures.planner import SetTaxRates
    from signatures.voter import CastVote, GovernAsLeader, StandForOffice
    from signatures.worker import ChooseLabor, JudgeTaxPolicy

__all__ = [
    "AnswerInterview",
    "CastVote",
    "ChooseLabor",
    "Database",
    "Dataset",
    "EconomistError",
    "GovernAsLeader",
    "JudgeTaxPolicy",
    "ModelError",
    "People",
    "Run",
    "SetTaxRates",
    "Stackelberg",
    "StandForOffice",
    "StoreError",
    "UsageError",
    "WritePersona",
    "compare",
    "dataset",
    "metric",
    "open",
    "optimize",
    "people",
    "save_program",
    "simulate",
    "state",
]

_FOUND_IN = {
    "AnswerInterview": "signatures.interview",
    "CastVote": "signatures.voter",
    "ChooseLabor": "signatures.worker",
    "GovernAsLeader": "signatures.voter",
    "JudgeTaxPolicy": "signatures.worker",
    "SetTaxRates": "signatures.planner",
    "StandForOffice": "signatures.voter",
    "WritePersona": "signatures.persona",
    "Database": "evals.python.database",
    "Dataset": "evals.datasets.simulated",
    "EconomistError": "pipeline.errors",
    "ModelError": "pipeline.errors",
    "People": "evals.python.people",
    "Run": "evals.python.database",
    "StoreError": "pipeline.errors",
    "Stackelberg": "pipeline.stackelberg",
    "UsageError": "pipeline.errors",
    "compare": "evals.python.studies",
    "dataset": "evals.python.tuning",
    "metric": "evals.python.tuning",
    "open": "evals.python.database:open_database",
    "optimize": "evals.python.studies",
    "people": "evals.python.people",
    "save_program": "evals.python.tuning",
    "simulate": "evals.python.simulate",
    "state": "evals.python.state",
}
"""The module of each name, and its name there where that is another."""


def __getattr__(name: str) -> Any:
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, renamed = _FOUND_IN[name].partition(":")
    found = getattr(import_module(module), renamed or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
