"""Behaviour cloning from recordings without controls: the score in real Breakout, with few labels.

    python examples/imitate_breakout.py [FOLDER] [--world breakout-world] [--steps 2000] [--games 24]

Records Breakout with the tracker policy (`mixed` recordings contain random play), infers the button of each
transition with the world model, and trains a policy on these buttons, and the same network on the real
controls. Control maps fitted to 64, to 200 and to all labelled transitions turn buttons into controls. Prints
the mean score of each policy with a 95 % interval over games, beside those of the recorded player and of
random play. Each part is kept in FOLDER (default: imitation_benchmark) and reused by the next run.

Dimensions: B batch, N games side by side, k frames of history, H W frame, O outputs, K buttons, C controls.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostpad.buttons.control_map import ControlMap, fit_control_map
from ghostpad.evaluation.controls.buttons import world_buttons
from ghostpad.frames.controls import control_classes
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.games.breakout.player import Tracker
from ghostpad.io import whole_file, write_json
from ghostpad.luma import luma
from ghostpad.machine import num_cores
from ghostpad.model.encoder import FramePyramid, grid_sizes
from ghostpad.sources.atari import open_emulator
from ghostpad.sources.recorder import RecordConfig, record
from ghostpad.sums import bootstrap
from ghostpad.training.config import LoopConfig, OptimizerConfig
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.loop import Loop
from ghostpad.training.task import Task
from ghostpad.world.world_model import WorldModel

LABELS = (None, 200, 64)
"""Labelled transitions of the maps; none: all there are."""
SEEDS = (0, 1, 2)
KIND = "policy"
_WIDTHS, _HIDDEN = (8, 16, 32), 128
_BACKGROUND_FRAMES = 256
_UNMIXING_ROUNDS = 50
Player = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Chooses the controls (n,) of the games that still run, from their last frames (n, k, 1, H, W) uint8, the
memories of their consoles (n, 128), and their numbers (n,)."""


@dataclass(frozen=True)
class Examples:
    """What was done in the transitions of one split.

    Attributes:
        transitions: of the split.
        shares: (T, O) how likely each output was held in each; rows sum to 1.
    """

    transitions: Transitions
    shares: np.ndarray

    def batch(self, rows: np.ndarray, history: int) -> "Moves":
        """The transitions `rows` for a policy that looks at `history` frames."""
        clips = torch.from_numpy(read_sequences(self.transitions, rows, history, 0, gray=True))
        return Moves(clips, torch.from_numpy(self.shares[rows]).float())


@dataclass(frozen=True)
class Moves:
    """A batch: `clips` (B, k, 1, H, W) uint8, the newest frame last, and `shares` (B, O)."""

    clips: Tensor
    shares: Tensor


class Policy(nn.Module):
    """A small network over the last frames, in grayscale and at half their size, less what stands still.

    Args:
        history: frames k. One is enough to follow a ball; more tempt a policy to repeat what it sees itself
            doing (de Haan et al. 2019, https://arxiv.org/abs/1905.11979).
        num_outputs: O, buttons or controls.
        size: height and width of the frames.
    """

    background: Tensor

    def __init__(self, history: int, num_outputs: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.history, self.num_outputs = history, num_outputs
        # The mean frame: without it walls and bricks drown a ball of few pixels, and learning takes twice
        # as long.
        self.register_buffer("background", torch.zeros(grid_sizes(*size, 1)[-1]))
        self.pyramid = FramePyramid(history, _WIDTHS, ())
        rows, columns = grid_sizes(*size, len(_WIDTHS) + 1)[-1]
        self.head = nn.Sequential(
            nn.Linear(_WIDTHS[-1] * rows * columns, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, num_outputs)
        )

    def logits(self, clips: Tensor) -> Tensor:
        """(B, O) of (B, k, 1, H, W) uint8."""
        return self.head(self.pyramid(_halved(clips) - self.background)[-1].flatten(1))

    def forward(self, batch: Moves) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy (nats) with what was held, and the share of the likeliest that is named."""
        logits_BO = self.logits(batch.clips)
        loss = F.cross_entropy(logits_BO, batch.shares)
        named = (logits_BO.argmax(1) == batch.shares.argmax(1)).float().mean()
        return loss, {"loss": loss.detach(), "reconstruction": loss.detach(), "accuracy": named}

    def after_step(
        self, step: int, num_steps: int, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> dict[str, float]:
        """Do nothing between steps."""
        return {}

    @torch.no_grad()
    def probabilities(self, clips: np.ndarray) -> np.ndarray:
        """P(output), (N, O) float64, rows sum to 1, from (N, k, 1, H, W) uint8."""
        self.eval()
        return self.logits(torch.from_numpy(clips)).double().softmax(1).numpy()


def _halved(clips: Tensor) -> Tensor:
    """(B, k, 1, H, W) uint8 → (B, k, H/2, W/2) in [0, 1], rounded up."""
    return F.avg_pool2d(clips[:, :, 0].float() / 255, 2, ceil_mode=True, count_include_pad=False)


def imitate(train: Examples, validation: Examples, out: Path, steps: int, history: int, seed: int) -> Policy:
    """Train a policy on the CPU, or take up what an earlier call left in `out`.

    Raises:
        UserError: `out` holds another run.
    """
    store = train.transitions.store
    torch.manual_seed(seed)
    policy = Policy(history, train.shares.shape[1], (store.height, store.width))
    policy.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    spread = np.linspace(0, len(train.transitions) - 1, _BACKGROUND_FRAMES).astype(np.int64)
    policy.background.copy_(_halved(train.batch(spread, 1).clips).mean((0, 1)))
    task = Task(
        kind=KIND,
        model=policy,
        model_config={"history": history, "num_outputs": policy.num_outputs},
        data=store.fingerprint,
        num_rows=len(train.transitions),
        batch=lambda rows, step: train.batch(rows, history),
        num_validation_rows=len(validation.transitions),
        validation_batch=lambda rows: validation.batch(rows, history),
    )
    config = LoopConfig(
        out=out,
        steps=steps,
        batch_size=64,
        precision="fp32",
        optimizer=OptimizerConfig(learning_rate=2e-3, final_learning_rate=1e-4),
        validate_every=max(1, steps // 4),
        validation_pairs=1024,
        validation_micro_batch=0,
        resume=True,
        tracker="none",
        seed=seed,
    )
    loop = Loop(task, config, ProcessGroup(torch.device("cpu")))
    loop.prepare_folder()
    loop.run()
    return policy.eval()


def controls_behind(found: ControlMap, used_K: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """How likely each control is behind a distribution over buttons, by what is known of the buttons.

    Which button was held is itself uncertain, so that a policy names a button now and then that was not
    meant. The buttons it expects are a mixture of what each control looks like, P(button | control); the
    shares of that mixture are found by expectation maximization. Controls that no direction tells apart are
    pressed alike: FIRE beside NOOP, which launches a ball and else does nothing.

    Args:
        found: the map of buttons and controls.
        used_K: (K,) how often each button is held.

    Returns:
        A function from (N, K) to (N, C), rows sum to 1.
    """
    directions, classes_C = control_classes(list(found.control_names))
    member_CD = np.eye(len(directions))[classes_C]
    looks_KD = used_K[:, None] * np.array(found.control_given_button) @ member_CD
    looks_KD = looks_KD / looks_KD.sum(0)
    press_DC = (member_CD / member_CD.sum(0)).T

    def behind(buttons_NK: np.ndarray) -> np.ndarray:
        held_ND = np.full((len(buttons_NK), len(directions)), 1 / len(directions))
        for _ in range(_UNMIXING_ROUNDS):
            expected_NK = np.maximum(held_ND @ looks_KD.T, 1e-12)
            held_ND = held_ND * ((buttons_NK / expected_NK) @ looks_KD)
            held_ND = held_ND / held_ND.sum(1, keepdims=True)
        return held_ND @ press_DC

    return behind


def sampled(policy: Policy, to_controls: Callable[[np.ndarray], np.ndarray], seed: int) -> Player:
    """Draw a control as likely as it is by `to_controls`, from (N, O) outputs to (N, C) controls."""
    rng = np.random.default_rng(seed)

    def player(clips: np.ndarray, rams: np.ndarray, games: np.ndarray) -> np.ndarray:
        shares_NC = to_controls(policy.probabilities(clips[:, -policy.history :]))
        return (shares_NC.cumsum(1) < rng.random((len(shares_NC), 1))).sum(1).clip(max=shares_NC.shape[1] - 1)

    return player


def play_game(player: Player, num_games: int, max_frames: int, seed: int, history: int = 1) -> np.ndarray:
    """Play the real Breakout, frame skip 4, `num_games` times; returns the scores (N,).

    Raises:
        UserError: ale-py is missing.
    """
    emulators = [open_emulator("breakout", seed * 1_000_003 + number) for number in range(num_games)]
    actions = emulators[0].getMinimalActionSet()
    first = np.stack([_picture(emulator) for emulator in emulators])
    clips = np.repeat(first[:, None], history, 1)
    scores = np.zeros(num_games)
    for _ in range(max_frames - 1):
        running = np.array([n for n, emulator in enumerate(emulators) if not emulator.game_over()])
        if not len(running):
            break
        rams = np.stack([emulators[n].getRAM() for n in running])
        for number, control in zip(running, player(clips[running], rams, running), strict=True):
            scores[number] += emulators[number].act(actions[int(control)])
            clips[number] = np.concatenate([clips[number, 1:], _picture(emulators[number])[None]])
    return scores


def _picture(emulator: object) -> np.ndarray:
    """(1, H, W) uint8 luma, as a store has it."""
    return luma(emulator.getScreenRGB())[None]  # type: ignore[attr-defined]


def control_examples(store: FrameStore, split: str, num_controls: int) -> Examples:
    """Transitions of a split with the real controls."""
    transitions = Transitions(store, split)
    held = np.concatenate(
        [_recorded(store, int(episode)) for episode in np.unique(transitions.episode_index)]
    )
    return Examples(transitions, np.eye(num_controls, dtype=np.float32)[held])


def _recorded(store: FrameStore, episode: int) -> np.ndarray:
    controls = store.controls(episode)
    assert controls is not None, "a recording of our own has controls"
    return controls


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
        found = world_buttons(world, num_cores()).posteriors(transitions, np.arange(len(transitions)))
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
