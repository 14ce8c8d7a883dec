"""A server that plays a small world, and a player that speaks to it as the page does."""

import contextlib
import dataclasses
import json
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from ghostpad.buttons.control_map import ControlMap
from ghostpad.frames.store import FrameStore
from ghostpad.play.app import build_app
from ghostpad.play.game import RECORDED, map_of_buttons
from ghostpad.play.served import ServedWorld
from ghostpad.play.server import listen, make_server
from ghostpad.play.starts import starts_of_store
from ghostpad.world.world_model import WorldModel

BREAKOUT = ControlMap(
    ("NOOP", "FIRE", "RIGHT", "LEFT"), ((0.9, 0.1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)), (0, 0, 1, 2), 64
)


def served_world(world: WorldModel, store: FrameStore, **changed) -> ServedWorld:
    """A small world that can be played from every frame of `store`."""
    settings = {
        "name": "small",
        "model_hash": "0123456789abcdef",
        "engine": "PyTorch",
        "controls": BREAKOUT,
        "named": True,
        "starts": starts_of_store(store, world),
        "no_emulator": "",
        "fps": 60.0,
        "max_players": 2,
        "seed": 0,
    }
    return ServedWorld(world=world, **(settings | changed))


def without_names(served: ServedWorld) -> ServedWorld:
    """The same without a control map."""
    return dataclasses.replace(served, controls=map_of_buttons(served.world), named=False)


@contextlib.contextmanager
def serving(served: ServedWorld, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve in a thread; yields the port."""
    with listen(host, 0) as listener:
        server = make_server(build_app(served, host))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)


@dataclasses.dataclass
class Frame:
    """One frame, as the page takes it apart."""

    number: int
    heard: int
    milliseconds: float
    button: int
    control: int
    codes: np.ndarray
    picture: np.ndarray
    real: np.ndarray | None


class Player:
    """Speaks to the server as the page does, from `with` on."""

    def __init__(self, port: int, join: bool = True, path: str = "/play", **options: Any) -> None:
        options.setdefault("origin", f"http://127.0.0.1:{port}")
        self._connecting = connect(f"ws://127.0.0.1:{port}{path}", **options)
        self._join = join
        self.said: list[dict] = []
        self.welcome: dict = {}
        self.presses = 0
        self.seen = 0

    def __enter__(self) -> "Player":
        self.socket: ClientConnection = self._connecting.__enter__()
        if self._join:
            self.send(type="join")
            self.welcome = json.loads(self.socket.recv(timeout=10))
        return self

    def __exit__(self, *error: Any) -> None:
        self._connecting.__exit__(*error)

    def send(self, **message) -> None:
        self.socket.send(json.dumps(message))

    def press(self, **what) -> None:
        self.presses += 1
        self.send(type="press", count=self.presses, **what)

    def packet(self, timeout: float = 10) -> bytes:
        """The next binary message; what is said meanwhile is kept in `said`."""
        while isinstance(packet := self.socket.recv(timeout=timeout), str):
            self.said.append(json.loads(packet))
        return packet

    def frame(self, seen: bool = True, timeout: float = 10) -> Frame:
        """The next frame, which is then seen."""
        packet = self.packet(timeout)
        *header, button, control = struct.unpack_from("<IIfBB", packet)
        h, w = self.welcome["grid"]
        size = self.welcome["height"], self.welcome["width"]
        channels = (3,) if self.welcome["channels"] == 3 else ()
        rest = packet[16 + 2 * h * w :]
        picture = np.frombuffer(rest, np.uint8, int(np.prod((*size, *channels)))).reshape(*size, *channels)
        real = np.frombuffer(rest[picture.size :], np.uint8)
        codes = np.frombuffer(packet, "<u2", h * w, 16).reshape(h, w)
        if seen:
            self.seen = header[0]
            self.send(type="seen", frame=self.seen)
        return Frame(*header, button, control, codes, self._colored(picture), real if real.size else None)

    def _colored(self, picture: np.ndarray) -> np.ndarray:
        colors = self.welcome["colors"]
        return picture if colors is None else np.array(colors, np.uint8)[picture]

    def step(self) -> Frame:
        """One frame, of a game that is paused."""
        self.send(type="step")
        return self.frame()

    def reset(self, episode: int, frame: int) -> Frame:
        """Stop, and begin from a recorded frame."""
        if not self.seen:
            self.frame()  # where every game begins
        self.send(type="pause", paused=True)
        self.send(type="reset", episode=episode, frame=frame)
        while (shown := self.frame()).button != RECORDED:
            pass
        return shown

    def frame_that_heard(self, press: int) -> Frame:
        """The first frame that knows of a press."""
        while (frame := self.frame()).heard < press:
            pass
        return frame

    def closed(self, timeout: float = 10) -> tuple[int, str]:
        """Wait until the server closes; the code and the reason."""
        from websockets.exceptions import ConnectionClosed

        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                self.socket.recv(timeout=until - time.monotonic())
            except ConnectionClosed as error:
                closing = error.rcvd
                return (closing.code, closing.reason) if closing else (1006, "")
        raise TimeoutError("the server did not close the connection")
