"""A policy trained only in imagination: evolved in a world model, then scored in the real Breakout.

    python examples/imagination.py [FOLDER] [--world breakout-world] [--generations 12] [--games 24]

Training takes no step in the real game. Imagined games begin at the recorded frames of the world's folder and
end after 60 frames or with the first ball that is lost. Their score is read from the imagined frames: each
brick that vanishes brings its points. CMA-ES (Hansen 2016, https://arxiv.org/abs/1604.00772) searches the
weights of a linear policy; all candidates of a generation play from the same starts.

The policy does not see pixels. The detector of the game finds ball and paddle in each frame, imagined or
real, and the policy gets whether a ball is visible, how far it is to the right of the paddle, and how far
both moved to the right since the frame before. A linear function of these gives the score of each control,
and the control with the highest score is held; in the real game FIRE is, while no ball is visible. As the
game is symmetric, LEFT has the weights that RIGHT has in the mirrored game: 7 weights in all.

Prints the mean score over real games with a 95 % interval, counted as in `imitate_breakout.py`, beside those
of the recorded player and of random play; one control in twenty of the policy is random there. Each
generation is kept in FOLDER (default: imagination), and the same command continues a run that was
interrupted. Training takes about 10 minutes on one core.

Dimensions: N games side by side, n of them, W weights of a policy.
"""

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads

import cma
import numpy as np

from ghostpad.errors import UserError
from ghostpad.games import game_named
from ghostpad.games.breakout.memory import BALL_WIDTH, PADDLE_WIDTHS
from ghostpad.io import write_json
from ghostpad.world.rollouts import Rollout
from ghostpad.world.world_model import WorldModel
from imitate_breakout import Player, anything, interval, play_game, tracker

SEEDS = (0, 1, 2)
CONTROLS = ("NOOP", "FIRE", "RIGHT", "LEFT")
NUM_WEIGHTS = 7
RANDOM_SHARE = 0.05
"""Of the controls in real games (Mnih et al. 2015, https://doi.org/10.1038/nature14236)."""
UNIT_PX = PADDLE_WIDTHS[0]
"""Lengths are in widths of the paddle, so that all inputs of a policy are of the order of one."""


@dataclass(frozen=True)
class EvolutionConfig:
    """Settings of the evolution strategy."""

    generations: int = 12
    policies: int = 20
    """candidates of a generation"""
    starts: int = 2
    """imagined games of a candidate"""
    frames: int = 60
    """most frames of an imagined game"""
    seed: int = 1


class Observer:
    """What a policy sees of N games; remembers where ball and paddle were a frame ago."""

    def __init__(self, num_games: int) -> None:
        self._before = np.full((num_games, 2), np.nan)
        game = game_named("breakout")
        assert game is not None
        self._detect = game.detect

    def __call__(self, frames: np.ndarray, games: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look at the newest frames (n, C, H, W) uint8 of some games (n,).

        Returns:
            (n, 2), what looks the same in a mirror: a constant, and whether no ball is visible.
            (n, 3), what a mirror turns round: the distance from paddle to ball, and the motion of both, in
            `UNIT_PX`; 0 where unknown.
        """
        state = self._detect(frames)
        found = np.stack([state["num_balls"] > 0, state["paddle_x"] >= 0], 1)
        left = np.stack([state["ball_x"], state["paddle_x"]], 1)
        centers = np.where(found, left + np.array([BALL_WIDTH, PADDLE_WIDTHS[0]]) / 2, np.nan)
        motion = centers - self._before[games]
        self._before[games] = centers
        lengths = np.concatenate([centers[:, :1] - centers[:, 1:], motion], 1)
        return np.stack([np.ones(len(frames)), ~found[:, 0]], 1), np.nan_to_num(lengths) / UNIT_PX


def choose(seen: tuple[np.ndarray, np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Controls (n,) that a policy with these weights (W,) holds for what an `Observer` saw."""
    even, odd = seen
    fire, side, turn = even @ weights[:2], even @ weights[2:4], odd @ weights[4:]
    return np.stack([np.zeros(len(even)), fire, side + turn, side - turn], 1).argmax(1)


def imagined_game(rollout: Rollout, weights: np.ndarray, start: int, num_frames: int) -> tuple[float, int]:
    """Play from a recorded start until the ball is lost, or for `num_frames` frames.

    Returns:
        The points, and how many frames were imagined.
    """
    assert rollout.scoreboard is not None
    observer, points, game = Observer(1), 0.0, np.array([0])
    rollout.restart(game, np.array([start]))
    lives = int(rollout.scoreboard.lives[0])
    for frame in range(num_frames):
        rollout.step(choose(observer(rollout.frames, game), weights))
        points += rollout.points[0]
        if rollout.scoreboard.lives[0] < lives:
            return points, frame + 1
    return points, num_frames


def evolve(rollout: Rollout, config: EvolutionConfig, folder: Path) -> np.ndarray:
    """Evolve a policy in a world, or continue the run in `folder`.

    `training.json` keeps the points of every generation. From these and its seed the strategy finds its way
    back to where it was.

    Returns:
        The weights (W,) in the middle of the last generation.

    Raises:
        UserError: the world does not know the controls or its points cannot be read, or the folder holds a
            run with other settings.
    """
    if rollout.control_names != CONTROLS or rollout.scoreboard is None:
        raise UserError("give a world of Breakout whose buttons 'ghostpad controls' has mapped to controls")
    path = folder / "training.json"
    settings: dict[str, Any] = {**asdict(config), "generations": None, "world": rollout.world.model_hash}
    run = json.loads(path.read_text()) if path.exists() else {"settings": settings, "generations": []}
    if run["settings"] != settings:
        raise UserError(f"{path}: a run with other settings; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    options = {"popsize": config.policies, "seed": config.seed, "verbose": -9}
    search = cma.CMAEvolutionStrategy(np.zeros(NUM_WEIGHTS), 1.0, options)
    for generation in range(config.generations):
        candidates = search.ask()
        if generation == len(run["generations"]):
            began = time.perf_counter()
            rng = np.random.default_rng([config.seed, generation])
            starts = rng.permutation(len(rollout.start_frames))[: config.starts]
            games = [
                [imagined_game(rollout, weights, int(start), config.frames) for start in starts]
                for weights in candidates
            ]
            points, frames = np.mean(games, 1).T[0], int(np.sum(games, (0, 1))[1])
            run["generations"].append({"points": points.tolist(), "frames": frames})
            write_json(path, run)
            rate = frames / (time.perf_counter() - began)
            print(
                f"generation {generation + 1} of {config.generations}: {points.mean():.2f} points a game, "
                f"{points.max():.2f} for the best; {frames} frames, {rate:.0f} a second",
                flush=True,
            )
        search.tell(candidates, [-points for points in run["generations"][generation]["points"]])
    return search.mean


def player(weights: np.ndarray, num_games: int, seed: int) -> Player:
    """The policy in real games, with random controls now and then, or all games would be the same.

    FIRE is held while no ball is visible, which serves one. Imagined games end at the first lost ball, so the
    policy has not learned to.
    """
    observer, rng = Observer(num_games), np.random.default_rng(seed)

    def play(clips: np.ndarray, rams: np.ndarray, games: np.ndarray) -> np.ndarray:
        seen = observer(clips[:, -1], games)
        controls = np.where(seen[0][:, 1] > 0, CONTROLS.index("FIRE"), choose(seen, weights))
        random = rng.integers(len(CONTROLS), size=len(games))
        return np.where(rng.random(len(games)) < RANDOM_SHARE, random, controls)

    return play


def main() -> None:
    """Train in imagination, play the real game and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("imagination"))
    parser.add_argument("--world", default="breakout-world")
    parser.add_argument("--generations", type=int, default=EvolutionConfig.generations)
    parser.add_argument("--games", type=int, default=24)
    parser.add_argument("--frames", type=int, default=1000, help="most frames of a real game")
    options = parser.parse_args()
    rollout = Rollout.from_world(WorldModel.from_pretrained(options.world), 1)
    try:
        weights = evolve(rollout, EvolutionConfig(generations=options.generations), options.folder)
    except KeyboardInterrupt:
        print(f"\nInterrupted; the same command continues from {options.folder}.")
        raise SystemExit(130) from None
    run = json.loads((options.folder / "training.json").read_text())
    imagined = sum(generation["frames"] for generation in run["generations"])
    print(
        f"\n{imagined:,} imagined frames and no real one; {len(SEEDS) * options.games} real games of at most "
        f"{options.frames} frames\n\n| player | mean score | 95 % interval |\n|---|--:|---|"
    )
    table = []
    for name, make in {
        "the recorded player": lambda seed: tracker(seed, options.games),
        "trained in imagination": lambda seed: player(weights, options.games, seed),
        "random": lambda seed: anything(len(CONTROLS), seed),
    }.items():
        scores = [play_game(make(seed), options.games, options.frames, seed) for seed in SEEDS]
        line = {"player": name, **interval(np.concatenate(scores))}
        print(f"| {name} | {line['mean']:.1f} | {line['low']:.1f} to {line['high']:.1f} |", flush=True)
        table.append(line)
    write_json(options.folder / "scores.json", {"scores": table, "weights": weights.tolist()})


if __name__ == "__main__":
    main()
