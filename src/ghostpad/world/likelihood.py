"""Likelihoods of recorded transitions under each button of a world, and what they say about the buttons.

By Bayes' rule with a uniform prior over buttons, the button of a transition is the one under which its codes
have the smallest negative log-likelihood (NLL).

Dimensions: T transitions, M buttons.
"""

import pickle
from functools import partial
from typing import Any

import numpy as np
import torch

from ghostpad.buttons.selection import buttons_needed
from ghostpad.frames.pairs import Transitions, read_sequences
from ghostpad.model.frame_format import pairs_at_once
from ghostpad.progress import progress
from ghostpad.workers import map_in_order
from ghostpad.world.world_model import WorldModel

CHUNK = 64  # transitions per task of a process
WORTH_PROCESSES = 4 * CHUNK
"""Transitions from which several processes are faster, although each takes seconds to start."""


def transition_nll(
    world: WorldModel, transitions: Transitions, rows: np.ndarray | None = None, num_workers: int = 1
) -> np.ndarray:
    """NLL (T, M), nats, of the transitions `rows` (all when not given), see `WorldModel.nll`.

    Many transitions are divided among `num_workers` processes on a CPU.
    """
    rows = np.arange(len(transitions)) if rows is None else rows
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    if num_workers == 1 or len(rows) < WORTH_PROCESSES or world.device.type != "cpu":
        done = map(partial(_chunk_nll, world, transitions), chunks)
    else:
        # As bytes: each tensor that is sent by itself keeps a file open for each task.
        done = map_in_order(partial(_chunk_nll, pickle.dumps(world), transitions), chunks, num_workers)
    parts = []
    with progress(what="buttons", unit="transitions", total=len(rows)) as bar:
        for part in done:
            parts.append(part)
            bar.update(len(part))
    return np.concatenate(parts)


def _chunk_nll(world: WorldModel | bytes, transitions: Transitions, rows: np.ndarray) -> np.ndarray:
    if isinstance(world, bytes):  # one of several processes
        torch.set_num_threads(1)
        world = pickle.loads(world)
    assert not isinstance(world, bytes)
    parts, size = [], pairs_at_once(world.device)
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        frames = read_sequences(transitions, part, world.history, 1, world.grayscale)
        parts.append(world.nll(frames[:, :-1], frames[:, -1]).cpu().numpy())
    return np.concatenate(parts)


def describe_buttons(
    world: WorldModel, transitions: Transitions, limit: int, seed: int = 0, num_workers: int = 1
) -> dict[str, Any]:
    """Use of the buttons without labels on at most `limit` transitions, as plain data.

    The `share` of transitions that each explains best, the mean posterior (`certainty`) of the likeliest one,
    and `buttons_needed`.
    """
    rows = np.arange(len(transitions))
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    nll_TM = transition_nll(world, transitions, rows, num_workers)
    shares = np.bincount(nll_TM.argmin(1), minlength=world.num_buttons) / len(rows)
    certainty = torch.from_numpy(-nll_TM).softmax(1).amax(1).mean()
    return {
        "num_transitions": len(rows),
        "num_buttons": world.num_buttons,
        "share": shares.tolist(),
        "certainty": float(certainty),
        **buttons_needed(nll_TM),
    }
