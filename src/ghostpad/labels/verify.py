"""Checking labels: the codes of a sample are computed again by the plain model and compared.

Dimensions: N transitions, D embedding, h w grid, K codebook size.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.labels.folder import Labels
from ghostpad.labels.shards import Shard, read_metadata
from ghostpad.model.latent_action_model import LatentActionModel

# How much farther than the nearest code another may be and still tie with it, as a share of the squared
# lengths of latent and code: what rounding in another order, or in half precision, can change.
TIE = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 5e-2}
# Where distances to a codebook do not decide, the share of codes that may differ.
_MAX_DIFFERENT = 1e-3
_BATCH = 32


def verify(labels: Labels, store: FrameStore, model: LatentActionModel, num_samples: int, seed: int) -> str:
    """Compare a seeded sample of labels with the codes of `model`, and summarize it in one line.

    Codes may differ where two are equally near but for rounding.

    Raises:
        UserError: a code differs by more than that, or a row is not that of the store; its file is named.
    """
    num_transitions = num_codes = num_ties = 0
    # Labels hold the transitions of all episodes in this order.
    transitions = Transitions(store, None, labels.origin.stride, model.history)
    for shard, first, rows in _sample(labels, num_samples, seed):
        path = labels.path / shard.file_name
        table = labels.table(shard, ["episode_index", "frame_index"]).take(rows - first)
        for name, right_T in zip(
            table.column_names, (transitions.episode_index, transitions.frame_index), strict=True
        ):
            if not np.array_equal(table[name].to_numpy(), right_T[rows]):
                raise UserError(
                    f"{path}: {name} is not that of the store; delete this file and extract again"
                )
        codes_Nhw = torch.from_numpy(labels.codes(shard)[rows - first].astype(np.int64))
        *_, encoder = read_metadata(path)
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            pair = transitions.read(rows[part], model.grayscale)
            ties, wrong = _compare(model, *pair, codes_Nhw[part], TIE[encoder.split()[-1]])
            if wrong:
                raise UserError(
                    f"{path}: {wrong} of {codes_Nhw[part].numel()} codes checked differ from those of the "
                    "model; delete this file and extract again"
                )
            num_ties += ties
        num_transitions += len(rows)
        num_codes += codes_Nhw.numel()
    same = f"{num_codes - num_ties:,} of {num_codes:,} codes are the same"
    return f"verified {num_transitions:,} transitions: {same}, {num_ties:,} tie with another code"


def _sample(labels: Labels, num_samples: int, seed: int) -> Iterator[tuple[Shard, int, np.ndarray]]:
    """Draw rows from all shards together; yields each shard drawn from, its first row, and those drawn."""
    ends = np.cumsum([shard.num_transitions for shard in labels.shards])
    total = int(ends[-1])
    drawn = np.sort(np.random.default_rng(seed).choice(total, min(num_samples, total), replace=False))
    owners = np.searchsorted(ends, drawn, side="right")
    for owner in np.unique(owners):
        shard = labels.shards[int(owner)]
        yield shard, int(ends[owner]) - shard.num_transitions, drawn[owners == owner]


def _compare(
    model: LatentActionModel, frames: np.ndarray, next_frames: np.ndarray, codes_Nhw: Tensor, tie: float
) -> tuple[int, int]:
    """Return how many codes tie with the model's own, and how many are wrong."""
    expected_Nhw = model.encode(frames, next_frames).cpu()
    differs = expected_Nhw != codes_Nhw
    num_different = int(differs.sum())
    if not num_different:
        return 0, 0
    if model.config.architecture.quantizer.kind not in ("vq", "nsvq"):
        # The code is not the nearest of one codebook: all that can be checked is that ties are rare.
        rare = num_different <= max(1, _MAX_DIFFERENT * differs.numel())
        return (num_different, 0) if rare else (0, num_different)
    latents_ND = model.embed(frames, next_frames).cpu().permute(0, 2, 3, 1)[differs].double()
    codebook_KD = model.codebook.cpu().double()
    given_ND, nearest_ND = codebook_KD[codes_Nhw[differs]], codebook_KD[expected_Nhw[differs]]
    farther = (latents_ND - given_ND).square().sum(1) - (latents_ND - nearest_ND).square().sum(1)
    scale = latents_ND.square().sum(1) + given_ND.square().sum(1)
    num_ties = int((farther <= tie * scale).sum())
    return num_ties, num_different - num_ties
