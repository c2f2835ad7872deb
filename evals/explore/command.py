"""`llm-economist explore`: serve the explorer until Ctrl-C."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evals.output.console import Console
from pipeline.errors import UsageError

HOST = "127.0.0.1"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-src 'none'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""No request leaves for another server, whatever a stored text says."""


def require() -> None:
    """UsageError with the install command if the libraries are missing."""
    try:
        import altair  # noqa: F401
        import marimo  # noqa: F401
        import vl_convert  # noqa: F401
        import zmq  # noqa: F401
    except ImportError as error:
        raise UsageError(f"the explorer needs the extra (no {error.name}): uv sync --extra explore") from error


def explore(
    runs: Sequence[str], databases: Sequence[str], console: Console, *, host: str, port: int | None, browser: bool
) -> None:
    """Serve the explorer on `host`, open it in a browser, and return after Ctrl-C.

    UsageError for a missing database, an unknown run, an address that is not this machine's, or a port in use.
    """
    require()
    import uvicorn

    from evals.explore.source import SOURCE, opened

    source = opened(runs, databases)
    try:
        with _listening(host, port) as listener:
            token = secrets.token_urlsafe(16)
            app = served(token)
            SOURCE.append(source)
            threading.Thread(target=_warm_up, daemon=True).start()
            address = f"http://{_in_url(host)}:{listener.getsockname()[1]}/?access_token={token}"
            console.print(address, soft_wrap=True, highlight=False, markup=False)
            console.print("Ctrl-C ends it.", highlight=False)
            if not ipaddress.ip_address(host).is_loopback:
                console.print(
                    f"Other machines can reach {host}: anyone with this address can read every prompt and reply.",
                    highlight=False,
                )
            if browser:
                threading.Timer(1, webbrowser.open, [address]).start()
            uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
    finally:
        source.close()


def _listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens. UsageError if the address or the port cannot be used."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise UsageError(f"--host {host}: expected an IP address of this machine, such as {HOST}") from None
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port or 0))
        listener.listen(128)
    except OSError as error:
        listener.close()
        what = f"--port {port}" if port else f"--host {host}"
        raise UsageError(f"{what}: {(error.strerror or str(error)).lower()}; leave --port out for a free one") from None
    return listener


def _warm_up() -> None:
    """Load what the first page needs while the browser starts."""
    import altair as alt

    from evals.explore import markup, registry  # noqa: F401

    markup.picture(lambda size: alt.Chart(alt.InlineData([{}])).mark_point(), label="")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def served(token: str) -> Any:
    """The explorer as an ASGI application that answers only who knows the token."""
    import marimo

    from evals.explore.markup import style

    app = Path(__file__).with_name("app.py")
    made = marimo.create_asgi_app(quiet=True, token=token, html_head=f"<style>{style()}</style>")
    return guarded(made.with_app(path="", root=str(app)).build())


def guarded(app: Any) -> Any:
    """`app` with the content security policy, and closed to pages of other servers.

    A page of another server could otherwise reach the explorer through the user's browser: with its own name that
    resolves to this machine it has no cookie, and with this machine's name its `Origin` differs from `Host`.
    """

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await app(scope, receive, send)  # type: ignore[no-any-return]
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get(b"origin", "")
        if origin and origin.partition("://")[2] != headers.get(b"host", ""):
            return await _refuse(scope, send)

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = {"content-security-policy": POLICY, "referrer-policy": "no-referrer"}
                added["x-content-type-options"] = "nosniff"
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in added.items())]
            await send(message)

        return await app(scope, receive, with_policy)  # type: ignore[no-any-return]

    return answer


async def _refuse(scope: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": 403, "headers": []})
    await send({"type": "http.response.body", "body": b"another origin"})
