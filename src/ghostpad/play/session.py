"""One player's connection: its requests, and the loop that answers them with frames.

Memory is bounded: the page acknowledges the frames that it has drawn, and only a few may be in flight.
"""

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from starlette.websockets import WebSocket, WebSocketDisconnect

from ghostpad.errors import UserError
from ghostpad.play.game import Game, GameFrame
from ghostpad.play.messages import (
    Join,
    MalformedMessage,
    Message,
    Pause,
    Press,
    Reset,
    Seen,
    Speed,
    Step,
    Temperature,
    pack_frame,
    read_message,
)

POLICY_VIOLATION, INTERNAL_ERROR, TRY_AGAIN_LATER = 1008, 1011, 1013  # close codes of RFC 6455
MAX_FRAMES_IN_FLIGHT = 3
IDLE_SECONDS = 90.0
"""A page that sends nothing for so long is gone; ours sends every ten seconds, a hidden one every minute."""
MESSAGES_PER_SECOND, MESSAGE_BURST = 200, 400
"""Rate limit of a page: an acknowledgement and a key or two in each tick, with room to spare."""


class CloseConnection(Exception):
    """The server closes the connection with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass
class Requests:
    """What the player asked for last."""

    fps: float
    temperature: float = 0.0
    paused: bool = False
    single_step: bool = False
    """whether to play one frame although paused"""
    reset: tuple[int, int] | None = (0, 0)
    """episode and frame to start from, None when that was done"""
    last_press: int = 0
    """number of the last press"""


class MessageReader:
    """Reads the messages of a page and enforces form, rate and timeout."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._tokens, self._filled_at = float(MESSAGE_BURST), time.monotonic()

    async def read(self, timeout: float) -> Message:
        """Wait for the next message.

        Raises:
            CloseConnection: it was malformed, exceeded the rate limit, or did not come in `timeout` seconds.
            WebSocketDisconnect: the page has gone.
        """
        try:
            async with asyncio.timeout(timeout):
                packet = await self._socket.receive()
        except TimeoutError:
            raise CloseConnection(POLICY_VIOLATION, "nothing was heard from this page") from None
        if packet["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(packet.get("code", 1006))
        now = time.monotonic()
        refill = (now - self._filled_at) * MESSAGES_PER_SECOND
        self._tokens, self._filled_at = min(MESSAGE_BURST, self._tokens + refill) - 1, now
        if self._tokens < 0:
            raise CloseConnection(POLICY_VIOLATION, "too many messages")
        try:
            return read_message(packet.get("text") or "")
        except MalformedMessage as error:
            raise CloseConnection(POLICY_VIOLATION, str(error)) from None


class Session:
    """The game of one connection. It is computed in `pool`, so that others are served meanwhile."""

    def __init__(
        self, game: Game, socket: WebSocket, reader: MessageReader, pool: Executor, fps: float
    ) -> None:
        self._game, self._socket, self._reader, self._pool = game, socket, reader, pool
        self._requests = Requests(fps)
        self._noop = self._held = self._tapped = game.buttons_for(game.noop, None)
        self._sent = self._seen = self._answered_press = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Play until the page goes (WebSocketDisconnect) or breaks a rule (CloseConnection)."""
        tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._play())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _receive(self) -> None:
        while True:
            self._handle(await self._reader.read(IDLE_SECONDS))
            self._changed.set()

    def _handle(self, message: Message) -> None:
        requests = self._requests
        match message:
            case Press(count=count, control=control, button=button):
                try:
                    self._held = self._game.buttons_for(control, button)
                except UserError as error:
                    raise CloseConnection(POLICY_VIOLATION, str(error)) from None
                if self._held != self._noop:
                    self._tapped = self._held
                requests.last_press = count
            case Seen(frame=frame):
                if not self._seen <= frame <= self._sent:
                    raise CloseConnection(POLICY_VIOLATION, "this frame was never sent")
                self._seen = frame
            case Pause(paused=paused):
                requests.paused = paused
            case Step():
                requests.paused = requests.single_step = True
            case Reset(episode=episode, frame=frame):
                requests.reset = (episode, frame)
            case Temperature(value=value):
                requests.temperature = value
            case Speed(fps=fps):
                requests.fps = fps
            case Join():
                raise CloseConnection(POLICY_VIOLATION, "joined already")

    async def _play(self) -> None:
        clock = asyncio.get_running_loop()
        deadline = clock.time()
        while True:
            while not self._has_work():
                self._changed.clear()
                await self._changed.wait()
                deadline = clock.time()
            await self._tick()
            # The next frame may catch up on one that took too long, but on no more than one.
            period = 1 / self._requests.fps
            deadline = max(deadline + period, clock.time() - period)
            await asyncio.sleep(max(0.0, deadline - clock.time()))

    def _has_work(self) -> bool:
        requests = self._requests
        wanted = requests.reset is not None or requests.single_step or not requests.paused
        return wanted and self._sent - self._seen < MAX_FRAMES_IN_FLIGHT

    async def _tick(self) -> None:
        """Compute one frame in the pool and send it."""
        requests, game = self._requests, self._game
        reset, requests.reset = requests.reset, None
        if reset is not None:
            compute = partial(game.start, *reset)
        else:
            requests.single_step = False
            # A key that was down for less than a tick counts for one.
            pressed = self._tapped if self._held == self._noop else self._held
            self._tapped, self._answered_press = self._noop, requests.last_press
            compute = partial(game.advance, *pressed, requests.temperature)
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[GameFrame] = loop.create_future()

        def work() -> None:
            # The frame is sent while the next one is prefetched.
            loop.call_soon_threadsafe(ready.set_result, compute())
            game.prefetch()

        done = loop.run_in_executor(self._pool, work)
        try:
            await asyncio.wait((ready, done), return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                await self._send(ready.result())
            await done
        except UserError as error:
            if reset is None or ready.done():
                raise
            await self._socket.send_json({"type": "refused", "reason": str(error)})
        finally:
            done.cancel()  # work that has not started; later errors are of no interest

    async def _send(self, frame: GameFrame) -> None:
        real = frame.real
        if real is not None and real.new_colors is not None:
            size = {"height": real.height, "width": real.width}
            await self._socket.send_json({"type": "real", **size, "colors": real.new_colors.tolist()})
        self._sent += 1
        await self._socket.send_bytes(pack_frame(self._sent, self._answered_press, frame))
