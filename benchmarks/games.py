"""The benchmark set of games: what is learned on games of many kinds, with one setting for all.

    python benchmarks/games.py record --out FOLDER [--games pong crafter …]

`record` writes `FOLDER/GAME` for each game, and in `FOLDER/STATUS` a line for each that is complete. The same
command continues after an interruption. Games other than Atari need the dependency group `games`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from ghostpad.sources.recorder import RecordConfig, record

NUM_BRANCHES = 10
"""Frames of each episode with the next frame under every control, in games whose state can be copied."""
_ATARI = ("breakout", "space_invaders", "ms_pacman", "seaquest")
GAMES: dict[str, dict[str, Any]] = {
    "my_way_home": {"env": "environments:my_way_home", "frame_skip": 4},
    "crafter": {"env": "environments:crafter", "frame_skip": 1, "branches": NUM_BRANCHES},
    "coinrun": {"env": "environments:coinrun", "frame_skip": 1, "branches": NUM_BRANCHES},
    "pong": {"game": "pong", "branches": NUM_BRANCHES},
    # The scripted player would hold UP in most frames.
    "freeway": {"game": "freeway", "policy": "random", "branches": NUM_BRANCHES},
    **{name: {"game": name, "branches": NUM_BRANCHES} for name in _ATARI},
    "defend_the_center": {"env": "environments:defend_the_center", "frame_skip": 4},
    "jumper": {"env": "environments:jumper", "frame_skip": 1, "branches": NUM_BRANCHES},
    "doorkey": {"env": "environments:doorkey", "frame_skip": 1, "branches": NUM_BRANCHES},
}
"""How each game is recorded, in the order of recording."""


def main() -> None:
    options = _options()
    for name in options.games:
        start = time.monotonic()
        config = RecordConfig(
            out=options.out / name,
            episodes=options.episodes,
            max_frames=options.max_frames,
            seed=options.seed,
            workers=options.workers,
            **GAMES[name],
        )
        record(config)
        frames = sum(1 for _ in config.out.glob("*/*.png"))
        line = f"{name}: {config.episodes} episodes, {frames} frames, {time.monotonic() - start:.0f} s"
        with (options.out / "STATUS").open("a", encoding="utf-8") as status:
            print(line, file=status)
        print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    recorder = verbs.add_parser("record", help="record the games")
    recorder.add_argument("--out", type=Path, required=True)
    recorder.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    recorder.add_argument("--episodes", type=int, default=30)
    recorder.add_argument("--max-frames", type=int, default=500)
    recorder.add_argument("--seed", type=int, default=0)
    recorder.add_argument("--workers", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
