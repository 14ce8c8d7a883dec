"""The web application: one page, one WebSocket, a limited number of players, and who may connect.

A page from elsewhere cannot read `http://127.0.0.1`, but it may open WebSockets to it, and a name that points
there (DNS rebinding) makes it look like our own page. `Origin` reveals the first, `Host` the second.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Response, WebSocket, WebSocketDisconnect
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers
from starlette.responses import FileResponse, PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from ghostpad.errors import UserError
from ghostpad.play.messages import Join
from ghostpad.play.served import ServedWorld
from ghostpad.play.session import (
    INTERNAL_ERROR,
    POLICY_VIOLATION,
    TRY_AGAIN_LATER,
    CloseConnection,
    MessageReader,
    Session,
)
from ghostpad.theme import CSS

STATIC = Path(__file__).parent / "static"
JOIN_SECONDS = 5.0  # how long a connection may stay open without a `join`
_SECURITY_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
]


def build_app(served: ServedWorld, host: str) -> FastAPI:
    """The application for one world; `host` is the address that it is bound to."""
    # A thread for each player, so that no one waits while another's next frame is prefetched.
    pool = ThreadPoolExecutor(served.max_players, "play")
    numbers = itertools.count()
    playing: set[int] = set()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        pool.shutdown(wait=False, cancel_futures=True)

    # FastAPI's own pages load scripts from other servers.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(OriginCheck, host=host)

    async def serve(socket: WebSocket) -> None:
        reader = MessageReader(socket)
        # Only a well-formed `join` takes one of the places; noise never does.
        if not isinstance(await reader.read(JOIN_SECONDS), Join):
            raise CloseConnection(POLICY_VIOLATION, "join first")
        if len(playing) >= served.max_players:
            raise CloseConnection(TRY_AGAIN_LATER, "all seats are taken")
        number = next(numbers)
        playing.add(number)
        try:
            game = await asyncio.get_running_loop().run_in_executor(pool, served.new_game, number)
            await socket.send_json(served.welcome())
            await Session(game, socket, reader, pool, served.fps).run()
        finally:
            playing.discard(number)

    @app.websocket("/play")
    async def play(socket: WebSocket) -> None:
        await socket.accept()
        try:
            await serve(socket)
        except CloseConnection as close:
            await _close(socket, close.code, close.reason)
        except WebSocketDisconnect:
            pass
        except Exception:
            await _close(socket, INTERNAL_ERROR, "the game broke; the server's terminal says how")
            raise

    @app.websocket("/{path:path}")
    async def no_such_path(socket: WebSocket) -> None:
        await socket.close()

    @app.get("/starts/{episode:int}/{frame:int}.png")
    def picture(episode: int, frame: int) -> Response:
        try:
            return Response(served.picture(episode, frame), media_type="image/png")
        except UserError as error:
            raise HTTPException(404, str(error)) from None

    @app.get("/theme.css")
    def theme() -> FileResponse:
        return FileResponse(CSS)

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may have gone meanwhile
        await socket.close(code, reason[:120])


class OriginCheck:
    """ASGI middleware that refuses foreign hosts and origins, and sets security headers."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
        self._everywhere = host in ("0.0.0.0", "::", "")
        if self._everywhere:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on requests to this server from its own pages; 403 for all others."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        foreign = scope["type"] == "websocket" and not same_origin(headers.get("origin", ""), host)
        if foreign or not self.serves(host):
            await self._refuse(scope, receive, send)
            return

        async def with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_SECURITY_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)  # type: ignore[arg-type]

    def serves(self, host: str) -> bool:
        """Whether a `Host` header names this server.

        Bound to all addresses, it accepts any numeric address: DNS rebinding needs a name.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if "@" in host:
            return False
        if name in self._names:
            return True
        with contextlib.suppress(ValueError):
            return self._everywhere and bool(ipaddress.ip_address(name))
        return False

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "foreign"})
            return
        text = "Ghostpad is not served under this name; open the address that `ghostpad play` printed.\n"
        await PlainTextResponse(text, 403)(scope, receive, send)


def same_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` header is that of a page under `host`; browsers always send one."""
    return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
