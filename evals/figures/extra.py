"""The extra `report`: the libraries that draw figures and render pages."""

from __future__ import annotations

from pipeline.errors import UsageError


def require() -> None:
    """UsageError with the install command if the libraries are missing."""
    try:
        import altair  # noqa: F401
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise UsageError(f"reports and figures need the extra (no {error.name}): uv sync --extra report") from error
