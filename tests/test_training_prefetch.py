"""A thread that reads the next batch early changes no batch and no training."""

import dataclasses
import functools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.frames.batches import BatchLoader
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.training import latent_action
from ghostpad.training.latent_action import train
from small_run import small_architecture, small_run

CPU = torch.device("cpu")


class Watched(BatchLoader):
    """A bank that remembers which thread read which rows."""

    readers: list[tuple[str, bytes]]

    def _fetch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        self.__dict__.setdefault("readers", []).append((threading.current_thread().name, rows.tobytes()))
        return super()._fetch(rows)


@pytest.mark.parametrize("grayscale", [True, False])
def test_expected_batches_are_read_once_by_the_thread_and_are_the_same(
    store: FrameStore, grayscale: bool
) -> None:
    transitions = Transitions(store, "train")
    plain, ahead = BatchLoader(transitions, grayscale, CPU), Watched(transitions, grayscale, CPU, ahead=True)
    assert plain.thread is None
    wanted = [np.arange(start, start + 5) for start in (0, 20, 7)]
    for rows in wanted[:2]:
        ahead.prefetch(rows)
        ahead.prefetch(rows)
    for rows in reversed(wanted):
        one, other = plain.batch(rows), ahead.batch(rows)
        for part in ("frames", "next_frames", "colors", "next_colors"):
            assert torch.equal(getattr(one, part), getattr(other, part))
    names = {rows: name for name, rows in ahead.readers}
    assert len(ahead.readers) == 3 and not ahead._prefetched
    assert [names[rows.tobytes()].startswith("frames") for rows in wanted] == [True, True, False]


def test_an_error_in_the_thread_is_raised_where_the_batch_is_requested(store: FrameStore) -> None:
    ahead = BatchLoader(Transitions(store, "train"), True, CPU, ahead=True)
    rows = np.array([10**9])
    ahead.prefetch(rows)
    with pytest.raises(IndexError):
        ahead.batch(rows)


def test_training_is_the_same(store_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_run(
        store_path,
        tmp_path / "plain",
        steps=6,
        accumulate=2,
        downsample=4,
        validation_pairs=2,
        validation_micro_batch=1,
        model=small_architecture((4, 8)),
    )
    train(config)
    banks = []

    def watched(*arguments: object) -> BatchLoader:
        banks.append(functools.partial(Watched, ahead=True)(*arguments))  # type: ignore[arg-type]
        return banks[-1]

    monkeypatch.setattr(latent_action, "BatchLoader", watched)
    train(dataclasses.replace(config, out=tmp_path / "ahead"))
    one, other = (
        torch.load(tmp_path / name / "last.pt", weights_only=True)["model"] for name in ("plain", "ahead")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    by_thread = [name.startswith("frames") for name, _ in banks[0].readers]
    assert sum(by_thread) == 12 and len(by_thread) == 14
