"""How fast a world plays through the WebSocket: frames a second, and the time from a key to its picture.

    python benchmarks/play.py [--world breakout-world] [--seconds 10]

Starts `ghostpad play` as a person would, joins as the page does, and presses keys at random moments. Server
and player share this machine's cores; the aims are those for two of them.
"""

import argparse
import json
import os
import random
import re
import statistics
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

from websockets.sync.client import ClientConnection, connect

from ghostpad.machine import num_cores

LEAST_RATE, LONGEST_MS = 30, 40
KEYS = ("RIGHT", "LEFT", "NOOP")


@dataclass
class Heard:
    """What came back in some seconds at one speed."""

    frames: int = 0
    num_bytes: int = 0
    seconds: float = 0.0
    predicted_ms: list[float] = field(default_factory=list)
    round_trips_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--world", help="folder, file or name; what ghostpad play takes when not given")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each speed")
    options = parser.parse_args()
    command = [sys.executable, "-m", "ghostpad", "play", "--port", "0", "--fps", "30"]
    command += ["--world", options.world] if options.world else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            told = re.search(r"(.*) is served at http://(\S+)", server.stdout.readline())
            if told is None:
                sys.exit(server.wait())
            results = measure(told[2], options.seconds)
        finally:
            server.terminate()
    print(f"{told[1]}, {num_cores()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| asked for | frames a second | key to picture: median | 95 % | to predict one | bytes a frame |")
    print("|--:|--:|--:|--:|--:|--:|")
    for asked, heard in results.items():
        trips = sorted(heard.round_trips_ms)
        print(
            f"| {asked} | {heard.rate:.1f} | {statistics.median(trips):.1f} ms "
            f"| {trips[int(0.95 * len(trips))]:.1f} ms | {statistics.median(heard.predicted_ms):.1f} ms "
            f"| {heard.num_bytes / heard.frames:,.0f} |"
        )
    kept = results[60].rate >= LEAST_RATE and statistics.median(results[30].round_trips_ms) < LONGEST_MS
    print(
        f"\nAt least {LEAST_RATE} frames a second when asked for 60, and at 30 a key answered in under "
        f"{LONGEST_MS} ms at the median: {'kept' if kept else 'missed'}"
    )


def measure(address: str, seconds: float) -> dict[int, Heard]:
    """Play for some seconds at each speed."""
    with connect(f"ws://{address}/play", origin=f"http://{address}") as socket:  # type: ignore[arg-type]
        socket.send('{"type": "join"}')
        welcome = json.loads(socket.recv())
        names = [control["name"] for control in welcome["controls"]]
        keys = [names.index(key) for key in KEYS if key in names] or list(range(len(names)))
        listen(socket, keys, 2.0, 0)  # until everything is warm
        results, presses = {}, 1000
        for asked in (30, 60):
            socket.send(json.dumps({"type": "speed", "fps": asked}))
            results[asked] = listen(socket, keys, seconds, presses)
            presses += 1000
    return results


def listen(socket: ClientConnection, keys: list[int], seconds: float, first_press: int) -> Heard:
    """Read frames, say that they were seen, and press a key now and then."""
    heard, rng = Heard(), random.Random(first_press)
    count, pressed_at, waiting = first_press, 0.0, False
    began = time.perf_counter()
    next_press = began + 0.1
    while (now := time.perf_counter()) < began + seconds:
        if not waiting and now >= next_press:
            count, pressed_at, waiting = count + 1, now, True
            socket.send(json.dumps({"type": "press", "count": count, "control": rng.choice(keys)}))
        try:
            packet = socket.recv(timeout=1.0 if waiting else max(0.0, next_press - time.perf_counter()))
        except TimeoutError:
            continue
        if isinstance(packet, str):
            continue
        number, known, milliseconds = struct.unpack_from("<IIf", packet)
        socket.send(json.dumps({"type": "seen", "frame": number}))
        heard.frames += 1
        heard.num_bytes += len(packet)
        heard.predicted_ms.append(milliseconds)
        if waiting and known >= count:
            heard.round_trips_ms.append(1000 * (time.perf_counter() - pressed_at))
            waiting, next_press = False, time.perf_counter() + rng.uniform(0.02, 0.15)
    heard.seconds = time.perf_counter() - began
    return heard


if __name__ == "__main__":
    main()
