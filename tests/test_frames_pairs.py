"""Transitions: every pair of a split once, none across the border of two episodes."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.frames.batches import BatchLoader
from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.frames.pairs import FramePairDataset, Transitions, current_frames
from ghostpad.frames.store import FrameStore


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> FrameStore:
    """Five episodes of 2 to 6 frames; each pixel encodes its episode and frame."""
    root = tmp_path_factory.mktemp("numbered")
    for episode in range(5):
        folder = root / "in" / f"e{episode}"
        folder.mkdir(parents=True)
        for frame in range(episode + 2):
            Image.new("RGB", (6, 4), (episode, frame, 200)).save(folder / f"{frame}.png")
    return ingest(IngestConfig(root / "in", root / "out.store"))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_pair_once_and_none_across_episodes(numbered: FrameStore, stride: int) -> None:
    transitions = Transitions(numbered, None, stride)
    frames, next_frames = transitions.read(slice(None), grayscale=False)
    found = [
        (int(a[0, 0, 0]), int(a[1, 0, 0]), int(b[0, 0, 0]), int(b[1, 0, 0]))
        for a, b in zip(frames, next_frames, strict=True)
    ]
    wanted = [
        (episode, frame, episode, frame + stride)
        for episode in range(5)
        for frame in range(episode + 2 - stride)
    ]
    assert found == wanted
    assert len(transitions) == len(wanted)


def test_history_ends_with_the_current_frame_and_repeats_the_first_of_the_episode(
    numbered: FrameStore,
) -> None:
    transitions = Transitions(numbered, None, stride=2, history=3)
    frames, next_frames = transitions.read(slice(None), grayscale=False)
    for (episode, frame), shown, after in zip(
        zip(transitions.episode_index, transitions.frame_index, strict=True), frames, next_frames, strict=True
    ):
        assert shown[:, 0, 0, 0].tolist() == [episode] * 3
        assert shown[:, 1, 0, 0].tolist() == [max(0, frame - 4), max(0, frame - 2), frame]
        assert after[1, 0, 0] == frame + 2
    assert np.array_equal(current_frames(frames), Transitions(numbered, None, 2).read(slice(None), False)[0])


@pytest.mark.parametrize("grayscale", [True, False])
def test_a_loader_gives_the_history_that_transitions_read(numbered: FrameStore, grayscale: bool) -> None:
    transitions = Transitions(numbered, None, history=3)
    rows = np.arange(len(transitions))
    batch = BatchLoader(transitions, grayscale, torch.device("cpu")).batch(rows)
    frames, next_frames = transitions.read(rows, grayscale)
    assert np.array_equal((batch.frames * 255).round(), frames.reshape(len(rows), -1, 4, 6))
    assert np.array_equal((batch.current * 255).round(), frames[:, -1])
    assert np.array_equal((batch.next_frames * 255).round(), next_frames)


def test_splits_share_no_transition_and_leave_none_out(numbered: FrameStore) -> None:
    parts = [
        set(Transitions(numbered, split).episode_index.tolist()) for split in ("train", "validation", "test")
    ]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 5


def test_rows_may_repeat_in_any_order(numbered: FrameStore) -> None:
    transitions = Transitions(numbered, None)
    rows = np.array([7, 0, 7, 3, 14])
    frames, next_frames = transitions.read(rows, grayscale=True)
    for place, row in enumerate(rows):
        one, after = transitions.read(np.array([row]), grayscale=True)
        assert np.array_equal(frames[place], one[0])
        assert np.array_equal(next_frames[place], after[0])


def test_the_dataset_yields_pairs_as_the_specification_says(store: FrameStore) -> None:
    gray, color = FramePairDataset(store), FramePairDataset(store, grayscale=False)
    frame, next_frame = gray[5]
    assert frame.shape == next_frame.shape == (1, 210, 160)
    assert color[5][0].shape == (3, 210, 160)
    assert frame.dtype == torch.float32
    transitions = gray.transitions
    folder = Path(store.episodes[transitions.episode_index[5]].source)
    with Image.open(folder / f"{transitions.frame_index[5] + 1}.png") as picture:
        assert np.array_equal(next_frame[0].numpy(), np.asarray(picture.convert("L"), np.float32) / 255)
        assert np.array_equal(color[5][1].numpy(), np.asarray(picture, np.float32).transpose(2, 0, 1) / 255)
    assert 0 <= frame.min() < frame.max() <= 1
    with pytest.raises(IndexError):
        gray[len(gray)]


def test_a_pickled_dataset_does_not_contain_its_frames(store: FrameStore) -> None:
    dataset = FramePairDataset(store)
    before = dataset[3]
    packed = pickle.dumps(dataset)
    assert len(packed) < 20_000
    assert torch.equal(pickle.loads(packed)[3][0], before[0])


def test_a_stride_out_of_range_is_refused(numbered: FrameStore) -> None:
    with pytest.raises(UserError, match="more than 6 frames"):
        Transitions(numbered, None, stride=6)
    with pytest.raises(UserError, match="--stride 0"):
        Transitions(numbered, None, stride=0)


def test_one_episode_can_be_read_but_not_split(numbered: FrameStore, tmp_path: Path) -> None:
    shutil.copytree(numbered.episodes[3].source, tmp_path / "in" / "only")
    store = ingest(IngestConfig(tmp_path / "in"))
    assert len(Transitions(store, None)) == 4
    with pytest.raises(UserError, match="1 episode, but"):
        Transitions(store, "test")
