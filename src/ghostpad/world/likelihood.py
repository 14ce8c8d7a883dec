"""Buttons: which one was held in each transition, and how many are needed.

A button is whatever, beside the past frames, the codes still depend on: the world model predicts the codes
under each of its buttons, and by Bayes' rule (buttons being equally likely before) the one that was held is
the one under which they surprise least.

Dimensions: T transitions, M buttons.
"""

import pickle
from functools import partial
from typing import Any

import numpy as np
import torch

from ghostpad.buttons.selection import buttons_needed
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequences
from ghostpad.model.frame_format import pairs_at_once
from ghostpad.progress import progress
from ghostpad.workers import map_in_order
from ghostpad.world.world_model import WorldModel

CHUNK = 64
"""Transitions of a task of a process."""
WORTH_PROCESSES = 4 * CHUNK
"""Transitions from which more processes are quicker, although each takes seconds to start."""


def surprises(
    world: WorldModel, transitions: Transitions, rows: np.ndarray | None = None, num_workers: int = 1
) -> np.ndarray:
    """Surprise (T, M) in nats of the codes of transitions under each button.

    Args:
        world: in evaluation mode.
        transitions: to read from.
        rows: which of them; all when not given.
        num_workers: processes for many, on a CPU.
    """
    rows = np.arange(len(transitions)) if rows is None else rows
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    if num_workers == 1 or len(rows) < WORTH_PROCESSES or world.device.type != "cpu":
        done = map(partial(_surprises, world, transitions), chunks)
    else:
        # As bytes: a tensor that is handed over by itself keeps a file open for each task.
        work = partial(_surprises_in_process, pickle.dumps(world), transitions)
        done = map_in_order(work, chunks, num_workers)
    parts = []
    with progress(what="buttons", unit="transitions", total=len(rows)) as bar:
        for part in done:
            parts.append(part)
            bar.update(len(part))
    return np.concatenate(parts)


def _surprises_in_process(world: bytes, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
    torch.set_num_threads(1)
    return _surprises(pickle.loads(world), transitions, rows)


def _surprises(world: WorldModel, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
    parts, size = [], pairs_at_once(world.device)
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        frames = read_sequences(transitions, part, world.history, 1, world.grayscale)
        parts.append(world.nll(frames[:, :-1], frames[:, -1]).cpu().numpy())
    return np.concatenate(parts)


def found_buttons(
    world: WorldModel, transitions: Transitions, limit: int, seed: int = 0, num_workers: int = 1
) -> dict[str, Any]:
    """What is known of the buttons without labels, on at most `limit` held-out transitions, as plain data."""
    rows = np.arange(len(transitions))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    surprise = surprises(world, transitions, rows, num_workers)
    shares = np.bincount(surprise.argmin(1), minlength=world.num_buttons) / len(rows)
    certainty = torch.from_numpy(-surprise).softmax(1).amax(1).mean()
    return {
        "num_transitions": len(rows),
        "num_buttons": world.num_buttons,
        "share": shares.tolist(),
        "certainty": float(certainty),
        **buttons_needed(surprise),
    }
