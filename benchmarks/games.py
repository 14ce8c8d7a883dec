"""The benchmark set of games: what is learned on games of many kinds, with one setting for all.

    python benchmarks/games.py record --out FOLDER [--games pong crafter …]
    python benchmarks/games.py measure --out FOLDER [--games pong crafter …] [--seeds 3]
    python benchmarks/games.py train --out FOLDER [--games pong crafter …] [--preset tiny] [--seconds 600]

`record` writes `FOLDER/GAME` for each game, and in `FOLDER/STATUS` a line for each that is complete. The same
command continues after an interruption. Games other than Atari need the dependency group `games`.

`measure` prints docs/games.md's table: how well buttons that are inferred from motion without labels name the
controls of test episodes, beside chance, k-means over shifts, and the ceilings.

`train` trains a preset on each game for so many seconds and prints how well the models predict test episodes.
"""

import argparse
import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch loads

import numpy as np

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


BUDGETS = (16, 64, 256)
WINDOW = (-1, 0, 1)
"""Transitions whose buttons name a control together."""
NUM_CLUSTERS, BASELINE_SHIFTS = 8, 10
"""Of k-means, over the shifts of the whole frame and its halves, down and right."""
SPEED_SECONDS, MEASURED = 5, 512
"""Seconds to measure the speed of training for; test transitions that trained models are measured on."""


def main() -> None:
    options = _options()
    options.verb(options)


def record_games(options: argparse.Namespace) -> None:
    """Record each game."""
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


def measure_games(options: argparse.Namespace) -> None:
    """Print a row of the table for each game."""
    columns = ["game", "controls", "test", "chance", "k-means", *(f"{count} labels" for count in BUDGETS)]
    columns += ["all labels", "window", "ceiling", "window ceiling", "branch ceiling", "seconds"]
    print(f"| {' | '.join(columns)} |\n|---|{'--:|' * (len(columns) - 1)}", flush=True)
    for name in options.games:
        row = measure_game(options.out / name, options.seeds)
        cells = [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row]
        print(f"| {' | '.join([name, *cells])} |", flush=True)


def measure_game(recording: Path, num_seeds: int) -> list[Any]:
    """The cells of a game after its name, see `measure_games`."""
    from ghostpad.buttons.control_map import fit_control_map
    from ghostpad.buttons.persistence import PersistenceConfig, fit_button_classifier, smoothed
    from ghostpad.evaluation.branches import branch_ceiling
    from ghostpad.evaluation.inverse_dynamics import supervised_ceilings
    from ghostpad.evaluation.probes import Labelled, label_budget, linear_probe
    from ghostpad.frames.controls import read_controls
    from ghostpad.frames.ingest import open_data
    from ghostpad.frames.pairs import Transitions
    from ghostpad.motion import motion_features, region_motion

    store = open_data(recording)
    everything = Transitions(store, None)
    all_rows = np.arange(len(everything))
    found = read_controls(everything, all_rows)
    assert found is not None, "the benchmark set has controls"
    controls, names = found
    splits = np.array([episode.split for episode in store.episodes])[everything.episode_index]
    labelled = Labelled.of(everything, all_rows, all_rows[:, None, None], controls)
    usable = labelled.usable(WINDOW)
    train, test = (usable[splits[usable] == split] for split in ("train", "test"))
    chance = float((controls[test] == np.bincount(controls[train]).argmax()).mean())
    began = time.monotonic()
    motion = motion_features(store)
    seconds = time.monotonic() - began
    shifts = region_motion(store, off_background=motion.fixed_camera)
    began = time.monotonic()
    scores = []
    for seed in range(num_seeds):
        options = PersistenceConfig(seed=seed)
        classifier = fit_button_classifier(motion, everything.episode_index, splits == "train", options)
        posterior = smoothed(classifier.posterior(motion.features_TF), everything.episode_index)

        def by_map(features: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> np.ndarray:
            return (held_out @ fit_control_map(names, features, labels).control_given_button).argmax(1)

        budget = label_budget(
            by_map, posterior[train], controls[train], posterior[test], controls[test], seed, BUDGETS
        )
        every = by_map(posterior[train], controls[train], posterior[test])
        wide = posterior[labelled.window(WINDOW)].reshape(len(everything), -1)
        window = linear_probe(wide[train], controls[train], wide[test], 0, 1.0)
        scores.append(
            [_baseline(shifts, controls, train, test, seed)]
            + [budget[str(count)]["mean"] for count in BUDGETS]
            + [float((answers == controls[test]).mean()) for answers in (every, window)]
        )
    seconds += (time.monotonic() - began) / num_seeds
    training = Transitions(store, "train")
    held_out = Transitions(store, "test")
    rows = np.arange(len(held_out))
    test_labels = Labelled.of(held_out, rows, rows[:, None, None], controls[splits == "test"])
    ceilings = supervised_ceilings(training, controls[splits == "train"], test_labels, len(names), 1, 0)
    raw = read_controls(held_out, rows, directions=False)
    assert raw is not None
    branch = branch_ceiling(held_out, raw[1], raw[0]).get("branch_ceiling", "")
    means = [float(mean) for mean in np.mean(scores, 0)]
    supervised = [ceilings.get(prefix, "") for prefix in ("", "window_")]
    return [len(names), len(test), chance, *means, *supervised, branch, int(seconds)]


def train_games(options: argparse.Namespace) -> None:
    """Print a row of the table of trained models for each game."""
    columns = [
        "game",
        "gain over copy, dB",
        "moving PSNR, dB",
        "copy",
        "ΔPSNR, dB",
        "bits",
        "steps",
        "seconds",
    ]
    print(f"| {' | '.join(columns)} |\n|---|{'--:|' * (len(columns) - 1)}", flush=True)
    for name in options.games:
        row = train_game(options.out / name, options.preset, options.seconds)
        cells = [f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row]
        print(f"| {' | '.join([name, *cells])} |", flush=True)


def train_game(recording: Path, preset_name: str, seconds: float) -> list[Any]:
    """The cells of a game after its name, see `train_games`."""
    from ghostpad.evaluation.codebook import summarize_codes
    from ghostpad.evaluation.inference import draw_blocks, transitions_of
    from ghostpad.evaluation.measurements import measure, metrics_of_sums
    from ghostpad.frames.ingest import open_data
    from ghostpad.model import LatentActionModel
    from ghostpad.presets import preset
    from ghostpad.sums import total
    from ghostpad.training import speed, train

    store = open_data(recording)
    with tempfile.TemporaryDirectory() as folder:
        config = dataclasses.replace(
            preset(preset_name), data=store.path, out=Path(folder), tracker="none", save_every=0
        )
        steps = max(2, int(seconds / speed.measure(config, SPEED_SECONDS).step_seconds))
        quiet = {"validate_every": 0, "validation_micro_batch": 0, "histogram_every": 0, "examples_every": 0}
        began = time.monotonic()
        train(dataclasses.replace(config, steps=steps, **quiet))
        took = int(time.monotonic() - began)
        model = LatentActionModel.from_pretrained(config.out)
    transitions = transitions_of(model, store, "test")
    rows = draw_blocks(len(transitions), MEASURED, 0, block=8)
    measured = measure(model, transitions, rows, None, 0, num_counterfactual=len(rows))
    metrics = metrics_of_sums(None, total(measured.sums))
    keys = ("gain_over_copy_db", "moving_psnr_db", "copy_moving_psnr_db", "delta_psnr_db")
    bits = summarize_codes(measured.codes, model.codebook_size)["bits_per_transition"]
    numbers = [*(metrics[f"reconstruction.{key}"] for key in keys), bits]
    return [*map(float, numbers), steps, took]


def _baseline(
    motion: np.ndarray, controls: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> float:
    """Accuracy of k-means over shifts in pixels, each cluster named by the majority of all its labels."""
    from sklearn.cluster import KMeans

    squashed = motion[:, :BASELINE_SHIFTS]
    pixels = np.sign(squashed) * np.expm1(np.abs(squashed))
    clusters = KMeans(NUM_CLUSTERS, n_init=4, random_state=seed).fit(pixels[train])
    counts = np.zeros((NUM_CLUSTERS, controls.max() + 1))
    np.add.at(counts, (clusters.labels_, controls[train]), 1)
    return float((counts.argmax(1)[clusters.predict(pixels[test])] == controls[test]).mean())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    recorder = verbs.add_parser("record", help="record the games")
    measurer = verbs.add_parser("measure", help="print how well buttons name the controls")
    trainer = verbs.add_parser("train", help="train a preset and print how well it predicts")
    for verb, function in ((recorder, record_games), (measurer, measure_games), (trainer, train_games)):
        verb.add_argument("--out", type=Path, required=True, help="folder of the recordings")
        verb.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
        verb.set_defaults(verb=function)
    recorder.add_argument("--episodes", type=int, default=30)
    recorder.add_argument("--max-frames", type=int, default=500)
    recorder.add_argument("--seed", type=int, default=0)
    recorder.add_argument("--workers", type=int)
    measurer.add_argument("--seeds", type=int, default=3, help="seeds of the inference; the mean counts")
    trainer.add_argument("--preset", default="tiny")
    trainer.add_argument("--seconds", type=float, default=600, help="of training, for each game")
    return parser.parse_args()


if __name__ == "__main__":
    main()
