"""`ghostpad play`: serve a world to a browser on this machine."""

import contextlib
import importlib.util
import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ghostpad.errors import UserError

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from ghostpad.play.served import ServedWorld

TRAINED, SHIPPED = Path("checkpoints/world"), Path("breakout-world")
MAX_CONNECTIONS = 256  # open connections of all kinds; more get the HTTP status 503
SHUTDOWN_SECONDS = 2


@dataclass(frozen=True)
class PlayConfig:
    """Which world to play, and who may connect."""

    world: Path | None = None
    """folder, file or shipped name of a world; checkpoints/world, else breakout-world, when not given"""
    data: Path | None = None
    """frame store, or folder of episodes, from whose frames games start; the world's own starts without"""
    host: str = "127.0.0.1"
    """address to serve on: this machine alone, or 0.0.0.0 for everyone who reaches it"""
    port: int = 8765
    """port to serve on; 0 takes a free one"""
    players: int = 4
    """players at once, at most"""
    fps: float = 30.0
    """frames per second, 1 to 60; a player may choose another speed"""
    seed: int = 0
    """seed of what is drawn at a temperature above 0"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: int | None = None
    """processes for reading episodes; all cores when not given"""


def play(config: PlayConfig) -> None:
    """Serve until interrupted.

    Raises:
        UserError: the extra is missing, there is no such world, or the address cannot be bound.
    """
    for package in ("fastapi", "uvicorn", "websockets"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f'playing needs {package}; install it with: pip install "ghostpad[play]"')
    if config.players < 1:
        raise UserError(f"--players {config.players}: must be at least 1")
    if not 1 <= config.fps <= 60:
        raise UserError(f"--fps {config.fps:g}: must be from 1 to 60")
    with listen(config.host, config.port) as listener:
        import torch

        from ghostpad.play.app import build_app

        # One thread for each game: several would spend more time on synchronization than on computing.
        torch.set_num_threads(1)
        served = load_world(config)
        _announce(config.host, served, listener.getsockname()[1])
        with contextlib.suppress(KeyboardInterrupt):
            make_server(build_app(served, config.host)).run([listener])


def listen(host: str, port: int) -> socket.socket:
    """Bind the address, before anything slow is done; a UserError if it cannot be bound."""
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: must be from 0 to 65535")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise UserError(f"--host {host} --port {port}: {reason}; give another --port or --host") from None


def load_world(config: PlayConfig) -> "ServedWorld":
    """Load the world, its control map and starts, and play one frame; a UserError if it cannot be played."""
    from ghostpad.frames.ingest import open_data
    from ghostpad.machine import resolve_device
    from ghostpad.play import onnx_world
    from ghostpad.play.game import map_of_buttons
    from ghostpad.play.served import ServedWorld, control_map_of
    from ghostpad.play.starts import starts_of_store, starts_of_world
    from ghostpad.world.world_model import WorldModel

    path = config.world or (TRAINED if TRAINED.is_dir() else SHIPPED)
    print(f"ghostpad: loading {path.name}, which takes some seconds", file=sys.stderr, flush=True)
    world = WorldModel.from_pretrained(path, str(resolve_device(config.device)))
    if config.data is not None:
        starts = starts_of_store(open_data(config.data, config.workers), world)
    else:
        starts = starts_of_world(world)
    control_map = control_map_of(world)
    model_hash = world.model_hash
    world, engine = onnx_world.fastest(world, world.start(starts.read(0, 0)))
    served = ServedWorld(
        name=path.name,
        model_hash=model_hash,
        world=world,
        engine=engine,
        controls=control_map or map_of_buttons(world),
        named=control_map is not None,
        starts=starts,
        no_emulator=starts.why_no_emulator(),
        fps=config.fps,
        max_players=config.players,
        seed=config.seed,
    )
    game = served.new_game(0)
    game.start(0, 0)  # errors show up now, and the first player does not wait
    game.advance(*game.buttons_for(game.noop, None), temperature=0.0)
    return served


def make_server(app: "FastAPI") -> "uvicorn.Server":
    """A server for `app` that bounds the memory of every connection."""
    import uvicorn
    from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

    from ghostpad.play.messages import MAX_MESSAGE_BYTES

    class BackpressureProtocol(AutoWebSocketsProtocol):  # type: ignore[misc, valid-type]
        """Reads nothing from clients that do not read: the answers to their pings would pile up."""

        def pause_writing(self) -> None:
            super().pause_writing()
            if not self.transport.is_closing():
                self.transport.pause_reading()

        def resume_writing(self) -> None:
            super().resume_writing()
            if not self.transport.is_closing():
                self.transport.resume_reading()

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws=BackpressureProtocol,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


def _announce(host: str, served: "ServedWorld", port: int) -> None:
    everywhere = host in ("0.0.0.0", "::")
    name = "127.0.0.1" if everywhere else f"[{host}]" if ":" in host else host
    print(f"{served.name} is served at http://{name}:{port} (Ctrl-C stops it)", flush=True)
    if served.no_emulator:
        print(f"without the real game beside it: {served.no_emulator}", flush=True)
    if everywhere or not _is_loopback(host):
        warning = f"everyone who reaches {host}:{port} can play; there is no password"
        print(f"ghostpad: {warning}", file=sys.stderr, flush=True)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
