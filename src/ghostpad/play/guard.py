"""Who may speak to the server: only pages that it served itself.

A page from elsewhere cannot read `http://127.0.0.1`, but it may open WebSockets to it, and a name that points
there (DNS rebinding) makes it look like a page of ours. `Host` tells the second, `Origin` the first.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_SAFE_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
]


class Guard:
    """ASGI middleware that refuses foreign hosts and origins, and sets the headers that keep pages apart."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
        self._everywhere = host in ("0.0.0.0", "::", "")
        if self._everywhere:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is ours; 403 for all else."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.serves(host) or (
            scope["type"] == "websocket" and not same_origin(headers.get("origin", ""), host)
        ):
            await self._refuse(scope, receive, send)
            return

        async def with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_SAFE_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)  # type: ignore[arg-type]

    def serves(self, host: str) -> bool:
        """Whether a `Host` header names this server.

        Served to everywhere, any address will do: rebinding needs a name.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if "@" in host:
            return False
        return name in self._names or (self._everywhere and _is_address(name))

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "foreign"})
            return
        text = "Ghostpad is not served under this name; open the address that `ghostpad play` printed.\n"
        await PlainTextResponse(text, 403)(scope, receive, send)


def same_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` header is that of a page under `host`; browsers always send one."""
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
