"""The card of exported training data: what it is, where it comes from, its columns, its counts and its licence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from evals.datasets.simulated import SPLITS
from evals.datasets.stored_questions import OUTPUT
from evals.output.formats import markdown_cell
from evals.output.tables import markdown_lines
from programs.calls.model_names import without_folder
from programs.secrets import without_secrets
from programs.visible import visible

ABOUT = {
    "sft": "Conversations that end with the exact best reply, for supervised fine-tuning.",
    "preferences": "Pairs of replies to one prompt: the exact best one, and one of the run that cost regret.",
    "grpo": "Prompts with the reward of the replies that are possible, for reinforcement learning (GRPO).",
}

MESSAGES = "list of {role, content}: the prompt as it was sent, system part first"

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "sft": {"messages": f"{MESSAGES}, then the best reply"},
    "preferences": {
        "prompt": MESSAGES,
        "chosen": "list with one message: the best reply",
        "rejected": "list with one message: an answer of the run, written in the same form",
        "score_rejected": "score of the rejected answer, 0 to 1 (the chosen one has 1)",
        "regret": "what it costs: dollars a year; for SetTaxRates, in the unit of the planner's objective",
    },
    "grpo": {
        "prompt": MESSAGES,
        "replies": "possible replies (of rate changes in more than three brackets, a part)",
        "rewards": "reward of each, 0 to 1: the score of the metrics `regret`, `welfare` and `vote_quality`",
        "played": "the usable answers of the run, written in the same form",
    },
}

SOURCE = {
    "question": "signature: " + ", ".join(OUTPUT),
    "phase": "what the agent was told to do: explore or exploit",
    "economy": "the economy: runs that share a seed or a population have the same",
    "run_id": "run",
    "year": "year of the run, from 0",
    "agent": "worker or voter; null for the planner",
    "call_id": "first call that asked this",
}

RUN_HEAD = ("run", "name", "scenario", "seed", "workers", "years", "model", "code")

LICENCE = """The prompts are text of llm-economist (MIT licence) and figures of simulated economies; census figures in
them come from the US Census Bureau and are in the public domain. Personas, and the answers that were played, were
written by the models named above and are subject to the terms of their providers. Nothing has checked what these
models wrote: treat it as untrusted."""


def card(
    format: str,
    runs: Sequence[Mapping[str, Any]],
    counts: Counter[tuple[str, str]],
    skipped: Mapping[str, int],
    *,
    economies: Mapping[int, str],
    shares: Sequence[float],
    seed: int,
    explore: bool,
) -> str:
    """README.md of the folder: Markdown with the header that dataset hubs read."""
    files = "\n".join(f"  - split: {name}\n    path: {name}.jsonl" for name in SPLITS if _rows(counts, name))
    phases = "explore and exploit" if explore else "exploit only"
    return "\n\n".join(
        [
            f"---\nlicense: other\ntags:\n- tax-policy\n- economics\n- {format}\nconfigs:\n- config_name: default\n"
            f"  data_files:\n{files}\n---",
            f"# Tax economies: {format}",
            f"{ABOUT[format]} The economy can be solved, so the best answer and the cost of every other are exact.",
            "## Counts",
            _counts(counts, economies),
            f"Splits are by economy: none is in two of them. Shares of the economies: "
            f"{', '.join(f'{name} {share:g} %' for name, share in zip(SPLITS, shares, strict=True))}; seed {seed}. "
            f"Phases: {phases}.",
            _left_out(skipped),
            "## Columns",
            table(["column", "content"], [[f"`{name}`", text] for name, text in _columns(format).items()]),
            "## Provenance",
            f"Exported by llm-economist {version('llm-economist')} from these runs:",
            table(RUN_HEAD, map(run_cells, runs)),
            "## Licence",
            f"{LICENCE}\n",
        ]
    )


def _rows(counts: Counter[tuple[str, str]], split: str) -> int:
    return sum(rows for (name, _), rows in counts.items() if name == split)


def _counts(counts: Counter[tuple[str, str]], economies: Mapping[int, str]) -> str:
    asked = [question for question in OUTPUT if any(question == each for _, each in counts)]
    held = Counter(economies.values())
    rows = [[name, held[name], *(counts[name, question] for question in asked), _rows(counts, name)] for name in SPLITS]
    return table(["split", "economies", *asked, "rows"], [[f"{cell}" for cell in row] for row in rows])


def _left_out(skipped: Mapping[str, int]) -> str:
    if not skipped:
        return "No question was left out."
    return "Questions left out:\n\n" + "\n".join(f"- {number:,}: {why}" for why, number in sorted(skipped.items()))


def _columns(format: str) -> dict[str, str]:
    return {**COLUMNS[format], **SOURCE}


def run_cells(row: Mapping[str, Any]) -> list[str]:
    """The cells of a run in the table of runs (`RUN_HEAD`), without paths of this machine and without keys."""
    names = ("run_id", "name", "scenario", "seed", "num_agents", "max_timesteps", "llm", "code_version")
    return [safe_cell(without_folder(str(row[name]))) for name in names]


def safe_cell(text: str) -> str:
    """Text from a database as a cell: one line, without markup, control characters and keys."""
    return markdown_cell(visible(without_secrets(text)))


def table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(markdown_lines(head, rows))
