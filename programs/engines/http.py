"""One attempt at a remote model: DSPy's bundled lm15 client where it knows the provider, LiteLLM elsewhere.

lm15 costs a third of LiteLLM's client time; the stock `dspy.LM` would cap it at 100 connections. Engines make
one attempt and raise `dspy.lm15` errors; who retries is not their business.
"""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.request import getproxies

from dspy import lm15
from dspy.clients.engines import AsyncLM15Engine, LM15Engine
from dspy.clients.engines.litellm_engine import AsyncLiteLLMEngine, LiteLLMEngine

from programs.engines.choices import Folding
from programs.engines.wire import AsyncWire, SyncWire
from programs.urls import shown

log = logging.getLogger("llm_economist")

REFUSED = (lm15.InvalidRequestError, lm15.UnsupportedFeatureError)
"""How a server or its client says that it will not do something."""

ABOUT_SCHEMAS = re.compile(r"response.?format|json.?schema|json.?object|structured|guided|grammar", re.IGNORECASE)
"""What such a refusal says if it is about the schema that a reply is to be held to."""

UNHELD: set[tuple[str, str | None]] = set()
"""Places of endpoints in this process that do not hold replies to a schema: adapters say it in the prompt as well."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model is: `route` is DSPy's `provider/model`; `environment` holds the keys and is never shown."""

    route: str
    base_url: str | None = None
    timeout: float = 30.0
    max_connections: int = 64
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def place(self) -> tuple[str, str | None]:
        """What tells this endpoint from others."""
        return self.route, self.base_url

    def __str__(self) -> str:
        return self.route if self.base_url is None else f"{self.route} at {shown(self.base_url)}"

    @property
    def api_key(self) -> str | None:
        """The OpenAI key, or a placeholder for an own server, which usually wants none."""
        key = self.environment.get("OPENAI_API_KEY") or self.environment.get("ECON_OPENAI")
        return key or ("none" if self.base_url else None)

    def router_config(self, transport: Any = None) -> lm15.RouterConfig:
        """How lm15 gets there; by connections of its own unless a `transport` is given."""
        own = self.route.startswith("openai/")
        return lm15.RouterConfig(
            env=dict(self.environment),
            api_keys={"openai-chat": self.api_key} if own and self.api_key else None,
            base_urls={"openai-chat": self.base_url} if self.base_url else None,
            transport=transport,
            **(self._connections() if transport is None else {}),
        )

    def transport(self) -> Any:
        """Connections of an event loop. Where the environment has no proxy, it is not searched on every call."""
        return AsyncWire(**self.router_config().transport_kwargs(), trust_env=bool(getproxies()))

    def _connections(self) -> dict[str, Any]:
        # The pool must outwait a full queue: the caller's own time limit bounds each attempt.
        timeouts = lm15.Timeouts(connect=min(10.0, self.timeout), read=self.timeout, write=self.timeout, pool=600.0)
        return {"max_connections": self.max_connections, "timeouts": timeouts}

    def is_native(self) -> bool:
        """Whether lm15 knows the provider of this route."""
        try:
            LM15Engine(lm15.RouterConfig(env={})).resolve(self.route)
        except lm15.LM15Error:
            return False
        return True


class _Remote:
    """What both engines share: the endpoint, its capabilities, and the route put on each request.

    `seeded`: whether the server takes a sampling seed.
    """

    supports_response_schema = True
    supports_function_calling = False
    supports_reasoning = False

    def __init__(self, endpoint: Endpoint, *, seeded: bool) -> None:
        self.endpoint = endpoint
        params = {"temperature", "max_tokens", "top_p", "stop", "response_format"}
        self.supported_params = frozenset(params | ({"seed"} if seeded else set()))

    def routed(self, request: lm15.Request) -> lm15.Request:
        """`request` as it is sent: without a schema where it was refused before."""
        if request.config.response_format is not None and self.endpoint.place in UNHELD:
            request = replace(request, config=replace(request.config, response_format=None))
        return replace(request, model=self.endpoint.route)

    def unheld(self, request: lm15.Request, error: lm15.LM15Error) -> bool:
        """Whether the server refused the schema of `request`: it may then be asked without, now and from now on."""
        if request.config.response_format is None or not ABOUT_SCHEMAS.search(str(error)):
            return False
        if self.endpoint.place not in UNHELD:
            UNHELD.add(self.endpoint.place)
            log.info("%s refuses a schema for replies: it is asked without from now on", self.endpoint)
        return True


class RemoteEngine(_Remote):
    """Synchronous attempts; close after use."""

    def __init__(self, endpoint: Endpoint, *, seeded: bool = False) -> None:
        super().__init__(endpoint, seeded=seeded)
        native = endpoint.is_native()
        config = endpoint.router_config(SyncWire(**endpoint.router_config().transport_kwargs()))
        self._inner: Any = LM15Engine(config) if native else LiteLLMEngine(timeout=endpoint.timeout)

    def complete(self, request: lm15.Request) -> lm15.Response:
        try:
            return self._inner.complete(self.routed(request))
        except REFUSED as error:
            if not self.unheld(request, error):
                raise
        return self._inner.complete(self.routed(request))


class _Native:
    """lm15's client of one event loop. Its route is found once: DSPy's engine asks a thread for it on every call."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.transport = endpoint.transport()
        self.engine = AsyncLM15Engine(endpoint.router_config(self.transport))
        self.route = self.engine.resolve(endpoint.route)
        self.client: Any = None

    async def complete(self, request: lm15.Request) -> lm15.Response:
        if self.client is None:  # making it may read credentials
            self.client = await asyncio.to_thread(self.engine.router.lm, f"{self.route.provider}:{self.route.model}")
        response: lm15.Response = await self.client.complete(replace(request, model=self.route.model))
        return response

    async def aclose(self) -> None:
        await self.engine.aclose()
        await self.transport.aclose()


class AsyncRemoteEngine(_Remote):
    """Asynchronous attempts; connection pools belong to one event loop each.

    `takes_several`: whether the protocol has requests for several samples; the server may not.
    """

    def __init__(self, endpoint: Endpoint, *, seeded: bool = False) -> None:
        super().__init__(endpoint, seeded=seeded)
        self._native = endpoint.is_native()
        self.takes_several = self._native and endpoint.route.startswith(("openai/", "hosted_vllm/"))
        self._pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()
        self._folding: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()

    def _pool(self) -> Any:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            self._pools[loop] = (
                _Native(self.endpoint) if self._native else AsyncLiteLLMEngine(timeout=self.endpoint.timeout)
            )
        return self._pools[loop]

    async def complete(self, request: lm15.Request) -> lm15.Response:
        return await self._held(self._pool().complete, request)

    async def _held(self, send: Callable[..., Awaitable[lm15.Response]], request: lm15.Request) -> lm15.Response:
        """`request` by `send`, and once more without its schema if that was refused."""
        try:
            return await send(self.routed(request))
        except REFUSED as error:
            if not self.unheld(request, error):
                raise
        return await send(self.routed(request))

    async def several(self, request: lm15.Request) -> lm15.Response:
        """One attempt for several samples (programs/together.py): the first, and with it the others (choices.py)."""
        return await self._held(self._complete_several, request)

    async def _complete_several(self, request: lm15.Request) -> lm15.Response:
        loop, pool = asyncio.get_running_loop(), self._pool()
        model = f"{pool.route.provider}:{pool.route.model}"
        if loop not in self._folding:  # over the same connections; DSPy's engine would not let the request pass
            transport = Folding(pool.transport)
            self._folding[loop] = lm15.AsyncLMRouter(self.endpoint.router_config(transport))
        response: lm15.Response = await self._folding[loop].complete(replace(request, model=model))
        return response

    async def aclose(self) -> None:
        """Close this loop's pool."""
        self._folding.pop(asyncio.get_running_loop(), None)
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.aclose()
