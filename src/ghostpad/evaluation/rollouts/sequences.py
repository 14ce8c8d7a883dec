"""Held-out sequences imagined under their own buttons: the protocols of CADDY and Genie, for every game.

The world infers the button of each transition from the recording, then continues the first frames under these
buttons. Neither labels nor an emulator are needed.

CADDY (Menapace et al. 2021, https://arxiv.org/abs/2101.12195) reconstructs sequences of 32 frames from the
first one and compares where a detector finds what the player moves. Genie (Bruce et al. 2024,
https://arxiv.org/abs/2402.15391) compares inferred with random buttons at the fourth frame.

Dimensions: N sequences, T frames, C colour channels, H W frame.
"""

import numpy as np

from ghostpad.evaluation.reconstruction import psnr_db, squared_error
from ghostpad.frames.store import FrameStore
from ghostpad.games import recognize
from ghostpad.progress import progress
from ghostpad.sums import Measured, Sums, as_floats, estimate, ratio
from ghostpad.world.rollouts import Rollout
from ghostpad.world.world_model import WorldModel

CADDY_FRAMES, GENIE_FRAMES = 32, 4
_BATCH = 8

KEYS: dict[str, tuple[str, str]] = {
    "add_px_32": (
        "pixels",
        "CADDY's average detection distance (ADD): of what the player moves, in sequences of 32 frames "
        "reconstructed from the first, over the frames with a detection in both",
    ),
    "mdr_32": (
        "share of frames",
        "CADDY's missing detection rate (MDR): without a detection, of those with one in the recording",
    ),
    "inferred_psnr_db_4": ("dB", "PSNR four frames after a recorded history, under inferred buttons"),
    "inferred_delta_psnr_db_4": ("dB", "Genie's ΔPSNR: the same less that under random buttons"),
}
"""Unit and meaning of every number of `sequences`."""


def sequences(world: WorldModel, store: FrameStore, num_sequences: int, seed: int = 0) -> Measured:
    """Imagine held-out sequences under inferred buttons, `num_sequences` by each protocol: `KEYS`.

    Those for which every test episode is too short are missing, and CADDY's where no detector finds what the
    player moves.
    """
    metrics, intervals = {}, {}
    for length, compare, summarize in (
        (CADDY_FRAMES, _compare_detections, _summarize_detections),
        (world.history + GENIE_FRAMES, _compare_buttons, _summarize_buttons),
    ):
        drawn = draw_sequences(store, world.latent_action_model.stride, length, num_sequences, seed)
        parts = []
        with progress(total=len(drawn), what="sequences", unit="sequences") as bar:
            for first in range(0, len(drawn), _BATCH):
                group = drawn[first : first + _BATCH]
                frames = np.stack([store.read(*where, world.grayscale) for where in group])
                parts.append(compare(world, frames, np.random.default_rng([seed, first])))
                bar.update(len(group))
        found, bounds = estimate(parts, [episode for episode, _ in drawn], summarize, seed)
        metrics, intervals = metrics | found, intervals | bounds
    return metrics, intervals


def draw_sequences(
    store: FrameStore, stride: int, length: int, num_sequences: int, seed: int
) -> list[tuple[int, np.ndarray]]:
    """Draw sequences of the test split: their episodes, and the indices (T,) of their frames.

    Fewer than `num_sequences` where there are not so many; they may overlap.
    """
    steps = stride * np.arange(length)
    firsts = [
        (index, first)
        for index, episode in enumerate(store.episodes)
        if episode.split == "test"
        for first in range(episode.num_frames - int(steps[-1]))
    ]
    order = np.random.default_rng(seed).permutation(len(firsts))[:num_sequences]
    return [(firsts[number][0], firsts[number][1] + steps) for number in np.sort(order)]


def inferred_buttons(world: WorldModel, frames_NTCHW: np.ndarray, given: int) -> np.ndarray:
    """The likeliest button (N, T - given) of each transition to a frame after the first `given` ones."""
    buttons = []
    for number in range(given, frames_NTCHW.shape[1]):
        history = frames_NTCHW[:, max(0, number - world.history) : number]
        buttons.append(world.button_probabilities(history, frames_NTCHW[:, number]).argmax(1).cpu().numpy())
    return np.stack(buttons, 1)


def imagine(world: WorldModel, frames_NnCHW: np.ndarray, buttons_NT: np.ndarray) -> np.ndarray:
    """The T frames (N, T, C, H, W) uint8 that follow n given ones under these buttons."""
    rollout, frames = Rollout(world), []
    rollout.start(frames_NnCHW)
    for buttons in buttons_NT.T:
        rollout.press(buttons)
        frames.append(rollout.frames)
    return np.stack(frames, 1)


def _compare_detections(world: WorldModel, frames_NTCHW: np.ndarray, rng: np.random.Generator) -> Sums:
    """CADDY's protocol: the first frame is given; like the other frames it counts."""
    game = recognize(frames_NTCHW[0, :1])
    if game is None or game.controlled is None:
        return {}
    imagined = imagine(world, frames_NTCHW[:, :1], inferred_buttons(world, frames_NTCHW, 1))
    column, shape = game.controlled.column, frames_NTCHW.shape[:2]
    true, found = (
        game.detect(frames.reshape(-1, *frames.shape[2:]))[column].reshape(shape).astype(int)
        for frames in (frames_NTCHW, np.concatenate([frames_NTCHW[:, :1], imagined], 1))
    )
    both = (true >= 0) & (found >= 0)
    return as_floats(
        {"there": (true >= 0).sum(1), "both": both.sum(1), "distance": (np.abs(found - true) * both).sum(1)}
    )


def _summarize_detections(sums: Sums) -> Sums:
    missed = sums["there"] - sums["both"]
    return {"add_px_32": ratio(sums["distance"], sums["both"]), "mdr_32": ratio(missed, sums["there"])}


def _compare_buttons(world: WorldModel, frames_NTCHW: np.ndarray, rng: np.random.Generator) -> Sums:
    """Genie's protocol: a whole history is given, and the last frame is compared."""
    given = world.history
    inferred = inferred_buttons(world, frames_NTCHW, given)
    chosen = {"inferred": inferred, "random": rng.choice(world.buttons_in_use, inferred.shape)}
    sums: Sums = {"values": np.full(len(frames_NTCHW), frames_NTCHW[0, -1].size, np.float64)}
    for name, buttons in chosen.items():
        imagined = imagine(world, frames_NTCHW[:, :given], buttons)
        sums[name] = squared_error(imagined[:, -1], frames_NTCHW[:, -1])
    return sums


def _summarize_buttons(sums: Sums) -> Sums:
    inferred, by_chance = (psnr_db(ratio(sums[name], sums["values"])) for name in ("inferred", "random"))
    return {"inferred_psnr_db_4": inferred, "inferred_delta_psnr_db_4": inferred - by_chance}
