"""One player's connection: what was asked for, and the loop that answers with frames.

Bounded in memory: the page says which frame it has drawn, and no more than a few are ever on their way.
"""

import asyncio
import dataclasses
import time
from concurrent.futures import Executor
from functools import partial

from starlette.websockets import WebSocket, WebSocketDisconnect

from ghostpad.errors import UserError
from ghostpad.play.game import Game, Shown
from ghostpad.play.messages import (
    Join,
    Malformed,
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

POLICY, FULL, BROKEN = 1008, 1013, 1011
MOST_UNSEEN = 3
"""Frames that may be on their way to a page."""
SILENCE_SECONDS = 90.0
"""A page that says nothing for so long is gone; ours speaks every ten seconds, a hidden one every minute."""
MESSAGES_PER_SECOND, BURST = 200, 400
"""What a page may send: a frame seen and a key or two in each tick, with room to spare."""


class Dismissed(Exception):
    """This connection is to be closed, and why."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclasses.dataclass
class Wishes:
    """What the player asked for last."""

    fps: float
    temperature: float = 0.0
    paused: bool = False
    single: bool = False
    """One frame, although paused."""
    reset: tuple[int, int] | None = (0, 0)
    """Episode and frame to begin from."""
    heard: int = 0
    """Number of the last press."""


class Mailbox:
    """Reads a page's messages: well-formed ones, not too many, not too seldom."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._left, self._at = float(BURST), time.monotonic()

    async def read(self, patience: float) -> Message:
        """Wait for the next message.

        Raises:
            Dismissed: it was malformed, one too many, or did not come in `patience` seconds.
            WebSocketDisconnect: the page has gone.
        """
        try:
            async with asyncio.timeout(patience):
                packet = await self._socket.receive()
        except TimeoutError:
            raise Dismissed(POLICY, "nothing was heard from this page") from None
        if packet["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(packet.get("code", 1006))
        now = time.monotonic()
        self._left, self._at = min(BURST, self._left + (now - self._at) * MESSAGES_PER_SECOND) - 1, now
        if self._left < 0:
            raise Dismissed(POLICY, "too many messages")
        try:
            return read_message(packet.get("text") or "")
        except Malformed as error:
            raise Dismissed(POLICY, str(error)) from None


class Session:
    """A player in a seat. `pool` does the computing, so that others are served meanwhile."""

    def __init__(self, game: Game, socket: WebSocket, mailbox: Mailbox, pool: Executor, fps: float) -> None:
        self._game, self._socket, self._mailbox, self._pool = game, socket, mailbox, pool
        self._wishes = Wishes(fps)
        self._rest = self._held = self._tapped = game.buttons_for(game.rest, None)
        self._sent = self._seen = self._answered = 0
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Play until the page goes.

        Raises:
            Dismissed: the page is to be sent away.
            WebSocketDisconnect: it has gone.
        """
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._play())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _listen(self) -> None:
        while True:
            self._heed(await self._mailbox.read(SILENCE_SECONDS))
            self._news.set()

    def _heed(self, message: Message) -> None:
        wishes = self._wishes
        match message:
            case Press(count=count, control=control, button=button):
                try:
                    self._held = self._game.buttons_for(control, button)
                except UserError as error:
                    raise Dismissed(POLICY, str(error)) from None
                if self._held != self._rest:
                    self._tapped = self._held
                wishes.heard = count
            case Seen(frame=frame):
                if not self._seen <= frame <= self._sent:
                    raise Dismissed(POLICY, "this frame was never sent")
                self._seen = frame
            case Pause(paused=paused):
                wishes.paused = paused
            case Step():
                wishes.paused = wishes.single = True
            case Reset(episode=episode, frame=frame):
                wishes.reset = (episode, frame)
            case Temperature(value=value):
                wishes.temperature = value
            case Speed(fps=fps):
                wishes.fps = fps
            case Join():
                raise Dismissed(POLICY, "joined already")

    async def _play(self) -> None:
        clock = asyncio.get_running_loop()
        due = clock.time()
        while True:
            while not self._has_work():
                self._news.clear()
                await self._news.wait()
                due = clock.time()
            await self._tick()
            # A frame that took long is made up for by the next, but no more than one.
            period = 1 / self._wishes.fps
            due = max(due + period, clock.time() - period)
            await asyncio.sleep(max(0.0, due - clock.time()))

    def _has_work(self) -> bool:
        wishes = self._wishes
        wanted = wishes.reset is not None or wishes.single or not wishes.paused
        return wanted and self._sent - self._seen < MOST_UNSEEN

    async def _tick(self) -> None:
        """Compute one frame in the pool and send it."""
        wishes, game = self._wishes, self._game
        reset, wishes.reset = wishes.reset, None
        if reset is not None:
            compute = partial(game.start, *reset)
        else:
            wishes.single = False
            # A key that was down for less than a tick counts for one.
            pressed = self._tapped if self._held == self._rest else self._held
            self._tapped, self._answered = self._rest, wishes.heard
            compute = partial(game.advance, *pressed, wishes.temperature)
        loop = asyncio.get_running_loop()
        shown: asyncio.Future[Shown] = loop.create_future()

        def work() -> None:
            # The frame is on its way while the next is prepared.
            loop.call_soon_threadsafe(shown.set_result, compute())
            game.prefetch()

        done = loop.run_in_executor(self._pool, work)
        try:
            await asyncio.wait((shown, done), return_when=asyncio.FIRST_COMPLETED)
            if shown.done():
                await self._send(shown.result())
            await done
        except UserError as error:
            if reset is None or shown.done():
                raise
            await self._socket.send_json({"type": "refused", "reason": str(error)})
        finally:
            done.cancel()  # what still waits for its turn; what fails later concerns nobody

    async def _send(self, shown: Shown) -> None:
        real = shown.real
        if real is not None and real.new_colors is not None:
            size = {"height": real.height, "width": real.width}
            await self._socket.send_json({"type": "real", **size, "colors": real.new_colors.tolist()})
        self._sent += 1
        await self._socket.send_bytes(pack_frame(self._sent, self._answered, shown))
