"""The panels of `--help`: under which title a setting of a run is listed, in the order of the help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

MOST_USED = "Most used"
PLAYED = "What is played"
LIMITS = "Limits and cost"
REPORTED = "Where it is reported"

PANELS: Mapping[str, Sequence[str]] = {
    MOST_USED: (
        *("scenario", "num_agents", "max_timesteps", "two_timescale", "llm", "prompt_algo", "planner_type"),
        *("seed", "db"),
    ),
    PLAYED: (),
    "Who is asked": ("base_url", "role_llm", "worker_type", "archetypes", "archetype_samples"),
    "How they are asked": (
        *("strategy", "program", "examples", "layout", "adapter", "history_len", "exploration", "exploitation"),
        *("temperature", "max_output_tokens", "omit"),
    ),
    LIMITS: ("max_cost_usd", "max_tokens", "timeout", "concurrency", "rpm", "tpm", "prices"),
    "Where it is kept": ("name", "log_dir", "debug", "callback"),
    REPORTED: ("wandb", "trackio", "otel", "mlflow", "trace_content"),
    "Scale": ("processes", "engine", "shards", "ray_address", "use_multithreading"),
}
"""Settings by title; a setting in no list is about what is played. `run` adds its flag --config to the first list."""

_PANEL = {name: panel for panel, names in PANELS.items() for name in names}


def panel_of(setting: str) -> str:
    """The title under which a setting is listed."""
    return _PANEL.get(setting, PLAYED)


def place_of(setting: str) -> tuple[int, int]:
    """Sorts settings as the help lists them: by panel, and within it in the order above."""
    panel = panel_of(setting)
    names = PANELS[panel]
    return list(PANELS).index(panel), names.index(setting) if setting in names else 0


def in_order(titles: Iterable[str]) -> list[str]:
    """Titles of a help: first those that are no panel, then the panels."""
    panels = list(PANELS)
    return sorted(titles, key=lambda title: panels.index(title) if title in panels else -1)
