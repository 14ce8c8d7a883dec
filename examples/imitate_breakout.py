"""Behaviour cloning from recordings without controls: the score in real Breakout, with few labels.

    python examples/imitate_breakout.py [FOLDER] [--world breakout-world] [--steps 2000] [--games 24]

Records Breakout with the tracker policy (`mixed` recordings contain random play), infers the button of each
transition with the world model, and trains a policy on these buttons, and the same network on the real
controls. Control maps fitted to 64, to 200 and to all labelled transitions turn buttons into controls. Prints
the mean score of each policy with a 95 % interval over games, beside those of the recorded player and of
random play. Each part is kept in FOLDER (default: imitation_benchmark) and reused by the next run.
"""

import argparse
import os
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads

import numpy as np

from ghostpad.buttons.control_map import fit_control_map
from ghostpad.evaluation.controls.study import button_posteriors
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.games.breakout.player import Tracker
from ghostpad.io import whole_file, write_json
from ghostpad.machine import num_cores
from ghostpad.sources.recorder import RecordConfig, record
from ghostpad.sums import bootstrap
from ghostpad.world.world_model import WorldModel
from imitation import (
    Examples,
    Player,
    control_examples,
    controls_behind,
    imitate,
    play_game,
    sampled,
)

LABELS = (None, 200, 64)
"""Labelled transitions of the maps; none: all there are."""
SEEDS = (0, 1, 2)


def main() -> None:
    """Record, infer buttons, train, play and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("imitation_benchmark"))
    parser.add_argument("--world", default="breakout-world")
    parser.add_argument(
        "--data", type=Path, help="frame store with the tracker's episodes, instead of new ones"
    )
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--games", type=int, default=24)
    parser.add_argument("--frames", type=int, default=1000, help="most frames of a game")
    options = parser.parse_args()
    videos = options.folder / "bulk_videos"
    if options.data is None:
        record(RecordConfig(out=videos, episodes=options.episodes, max_frames=1000, policy="tracker", seed=7))
    store = open_data(options.data or videos)
    names = store.control_names(0) or []
    train, validation = (control_examples(store, split, len(names)) for split in ("train", "validation"))
    pressed, pressed_validation = (
        button_examples(store, part.transitions, options.world, options.folder)
        for part in (train, validation)
    )
    policies = {
        kind: imitate(*examples, options.folder / f"{kind}_{options.steps}", options.steps, history=1, seed=0)
        for kind, examples in (
            ("buttons", (pressed, pressed_validation)),
            ("controls", (train, validation)),
        )
    }
    held, seen = train.shares.argmax(1), len(np.unique(train.transitions.episode_index))
    scores: dict[tuple[str, int | None], list[np.ndarray]] = {}
    for seed in SEEDS:
        order = np.random.default_rng(seed).permutation(len(held))
        players = {
            ("the recorded player", None): tracker(seed, options.games),
            ("imitation of controls", len(held)): sampled(
                policies["controls"], lambda controls: controls, seed
            ),
        }
        for num in LABELS:
            found = fit_control_map(names, pressed.shares[order[:num]], held[order[:num]])
            behind = controls_behind(found, pressed.shares.mean(0))
            players["imitation of buttons", found.num_labels] = sampled(policies["buttons"], behind, seed)
        players["random", None] = anything(len(names), seed)
        for who, player in players.items():
            scores.setdefault(who, []).append(play_game(player, options.games, options.frames, seed))
    print(
        f"{len(held):,} transitions of {seen} episodes, {options.steps} steps of 64 transitions; "
        f"{len(SEEDS) * options.games} games of at most {options.frames} frames\n"
    )
    print("| player | labelled transitions | mean score | 95 % interval |\n|---|--:|--:|---|")
    table = []
    for (name, labels), parts in scores.items():
        line = {"player": name, "labels": labels, **interval(np.concatenate(parts))}
        between = f"{line['low']:.1f} to {line['high']:.1f}"
        print(f"| {name} | {labels or ''} | {line['mean']:.1f} | {between} |")
        table.append(line)
    write_json(options.folder / "scores.json", table)


def tracker(seed: int, num_games: int) -> Player:
    """The player that was recorded, with luck of its own in each game."""
    trackers = [Tracker(np.random.default_rng((seed, game)), 4) for game in range(num_games)]
    return lambda clips, rams, games: np.array(
        [trackers[game](ram) for game, ram in zip(games, rams, strict=True)]
    )


def anything(num_controls: int, seed: int) -> Player:
    """Any control, whatever happens."""
    rng = np.random.default_rng(seed)
    return lambda clips, rams, games: rng.integers(num_controls, size=len(games))


def button_examples(store: FrameStore, transitions: Transitions, world_name: str, folder: Path) -> Examples:
    """P(button) of each transition, kept beside the recordings."""
    world = WorldModel.from_pretrained(world_name)
    episodes = len(np.unique(transitions.episode_index))
    path = folder / f"buttons_{world.model_hash[:12]}_{store.fingerprint[:12]}_{episodes}.npy"
    if not path.exists():
        found = button_posteriors(world, transitions, np.arange(len(transitions)), num_cores())
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, found)
    return Examples(transitions, np.load(path))


def interval(scores: np.ndarray) -> dict[str, float]:
    """Mean score and its 95 % interval by bootstrap over games."""
    sums = {"score": scores, "games": np.ones(len(scores))}
    bounds = bootstrap(
        sums, np.arange(len(scores)), lambda again: {"mean": again["score"] / again["games"]}, seed=0
    )
    return {"mean": float(scores.mean()), "low": bounds["mean"][0], "high": bounds["mean"][1]}


if __name__ == "__main__":
    main()
