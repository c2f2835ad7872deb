"""The extra `report`: what draws figures and lays out pages is not installed with the rest."""

from __future__ import annotations

from pipeline.errors import UsageError


def require() -> None:
    """UsageError that says how to get the libraries, unless they are here."""
    try:
        import altair  # noqa: F401
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise UsageError(f"reports and figures need the extra (no {error.name}): uv sync --extra report") from error
