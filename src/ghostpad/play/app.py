"""The web application: one page, one WebSocket, a few seats."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.staticfiles import StaticFiles

from ghostpad.buttons.control_map import ControlMap
from ghostpad.play.game import Game, PixelFormat, left_to_chance
from ghostpad.play.guard import Guard
from ghostpad.play.keys import held_for, resting_control
from ghostpad.play.messages import FASTEST, HOTTEST, Join
from ghostpad.play.session import BROKEN, FULL, POLICY, Dismissed, Mailbox, Session
from ghostpad.play.starts import Starts
from ghostpad.world.world_model import WorldModel

STATIC = Path(__file__).parent / "static"
JOIN_SECONDS = 5.0
"""How long a connection may stay without asking for a seat."""


@dataclass(frozen=True)
class House:
    """What all players share."""

    name: str
    """What the world is called."""
    model_hash: str
    world: WorldModel
    engine: str
    """What computes it."""
    controls: ControlMap
    named: bool
    """Whether these are controls of the game, not the buttons by themselves."""
    starts: Starts
    absent: str
    """Why there is no real game beside it; empty when there is one."""
    fps: float
    """Frames per second until a player asks for others."""
    seats: int
    """Most players at once."""
    seed: int

    def new_game(self, number: int) -> Game:
        """A game for a player; the same number gives the same luck."""
        return Game(self.world, self.controls, self.starts, self.seed + number, beside=not self.absent)

    def welcome(self) -> dict[str, Any]:
        """What a page has to know before the first frame."""
        world, names, pixels = self.world, self.controls.control_names, PixelFormat(self.world)
        chance = left_to_chance(self.controls)
        return {
            "type": "welcome",
            "world": self.name,
            "hash": self.model_hash[:12],
            "engine": self.engine,
            "height": world.height,
            "width": world.width,
            "channels": pixels.channels,
            "colors": None if pixels.colors is None else pixels.colors.tolist(),
            "grid": list(world.latent_action_model.grid),
            "codes": world.latent_action_model.codebook_size,
            "buttons": world.buttons_in_use,
            "controls": [
                {"name": name, "holds": sorted(held_for(name)), "chance": number in chance}
                for number, name in enumerate(names)
            ],
            "rest": resting_control(names),
            "control_given_button": self.controls.control_given_button,
            "button_for_control": self.controls.button_for_control,
            "named": self.named,
            "labels": self.controls.num_labels,
            "episodes": [
                {"name": name, "frames": frames}
                for name, frames in zip(self.starts.names, self.starts.lengths, strict=True)
            ],
            "beside": not self.absent,
            "fps": self.fps,
            "fastest": FASTEST,
            "hottest": HOTTEST,
        }


def build_app(house: House, host: str) -> FastAPI:
    """The application for one house; `host` is the address that it is bound to."""
    pool = ThreadPoolExecutor(house.seats, "play")  # or one would wait while another's next is prepared
    numbers = itertools.count()
    seated: set[int] = set()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        pool.shutdown(wait=False, cancel_futures=True)

    # FastAPI's own pages load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, host=host)

    async def serve(socket: WebSocket) -> None:
        mailbox = Mailbox(socket)
        # A seat is for those who ask in our own words: noise never takes one.
        if not isinstance(await mailbox.read(JOIN_SECONDS), Join):
            raise Dismissed(POLICY, "join first")
        if len(seated) >= house.seats:
            raise Dismissed(FULL, "all seats are taken")
        number = next(numbers)
        seated.add(number)
        try:
            game = await asyncio.get_running_loop().run_in_executor(pool, house.new_game, number)
            await socket.send_json(house.welcome())
            await Session(game, socket, mailbox, pool, house.fps).run()
        finally:
            seated.discard(number)

    @app.websocket("/play")
    async def play(socket: WebSocket) -> None:
        await socket.accept()
        try:
            await serve(socket)
        except Dismissed as dismissed:
            await _close(socket, dismissed.code, dismissed.reason)
        except WebSocketDisconnect:
            pass
        except Exception:
            await _close(socket, BROKEN, "the game broke; the server's terminal says how")
            raise

    @app.websocket("/{path:path}")
    async def nowhere(socket: WebSocket) -> None:
        await socket.close()

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it may have gone meanwhile
        await socket.close(code, reason[:120])
