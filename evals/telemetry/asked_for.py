"""What the user asks telemetry for: where `export --to` sends a run, and whether prompts and replies go along."""

from __future__ import annotations

import os

OTLP, MLFLOW = ("otlp", "otlps"), "mlflow"

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's own variable for prompts and replies."""


def is_service(to: str) -> bool:
    """Whether `--to` names a service; a folder of the same name is written `./mlflow`.

    >>> [is_service(to) for to in ("otlp", "otlp://127.0.0.1:4318", "mlflow", "mlflow:sqlite:///a.db", "./mlflow")]
    [True, True, True, True, False]
    """
    scheme, separator, rest = to.partition(":")
    return (scheme in OTLP and (not separator or rest.startswith("//"))) or scheme == MLFLOW


def content_asked_for(flag: bool) -> bool:
    """Whether the user wants prompts and replies, by the flag or by OpenTelemetry's variable."""
    return flag or os.environ.get(CAPTURE, "").strip().lower() in ("true", "span_only", "span_and_event")
