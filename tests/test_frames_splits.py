"""Splits: by episode, seeded, none empty from three episodes on, and unchanged by later episodes."""

import math
from pathlib import Path

import numpy as np
import pytest

from ghostpad.errors import UserError
from ghostpad.frames.splits import Splitting, assign_splits, find_originals, read_split_file


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_episodes", [3, 4, 10, 11, 40, 100])
def test_each_split_has_its_share_of_the_episodes(num_episodes: int, seed: int) -> None:
    splits = assign_splits(num_episodes, seed)
    assert len(splits) == num_episodes
    held_out = [splits.count("validation"), splits.count("test")]
    assert min(held_out) >= max(1, num_episodes // 10)
    assert max(held_out) <= math.ceil(num_episodes / 10)
    assert splits.count("train") == num_episodes - sum(held_out)


@pytest.mark.parametrize("seed", range(3))
def test_episodes_added_at_the_end_change_no_split(seed: int) -> None:
    longest = assign_splits(60, seed)
    for num_episodes in range(3, 60):
        assert assign_splits(num_episodes, seed) == longest[:num_episodes]


def test_seeds_give_different_splits() -> None:
    assert len({tuple(assign_splits(40, seed)) for seed in range(10)}) == 10


def test_two_episodes_cannot_be_split() -> None:
    with pytest.raises(UserError, match=r"2 episodes.* 3"):
        assign_splits(2)


def test_copies_get_the_split_of_their_original() -> None:
    names = [f"episode_{index}" for index in range(6)]
    splits = Splitting(seed=0).assign(names, [0, 1, 2, 0, 1, 2])
    assert splits[:3] == splits[3:]
    assert sorted(splits[:3]) == ["test", "train", "validation"]


def test_near_duplicates_are_found_and_common_beginnings_are_not() -> None:
    rng = np.random.default_rng(0)
    intro = rng.integers(0, 9, (300, 4, 4), np.uint8)
    tails = rng.integers(0, 9, (3, 100, 4, 4), np.uint8)
    episodes = [np.concatenate([intro, tail]) for tail in tails]
    episodes += [episodes[1].copy(), episodes[2][:350], episodes[0][:300]]
    first_frames = [episode[0].tobytes().hex() for episode in episodes]
    lengths = [len(episode) for episode in episodes]
    read = []

    def frame_bytes(episode: int, frame: int) -> bytes:
        read.append(frame)
        return episodes[episode][frame].tobytes()

    assert find_originals(first_frames[:3], lengths[:3], frame_bytes) == [0, 1, 2]
    assert set(read) == {399}, "one frame is enough to tell these apart"
    assert find_originals(first_frames, lengths, frame_bytes) == [0, 1, 2, 1, 2, 0]


def test_a_split_file_assigns_splits_and_a_missing_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("episode,split\na,train\nb,validation\nc,test\n")
    splitting = Splitting(own=read_split_file(path))
    assert splitting.assign(["c", "a", "b"], [0, 1, 2]) == ["test", "train", "validation"]
    with pytest.raises(UserError, match="no line for episode d"):
        splitting.assign(["a", "d"], [0, 1])


@pytest.mark.parametrize(
    ("text", "words"), [("a,b,c\n", "line 1"), ("a,train\nb,dev\n", "line 2"), ("a,train\na,test\n", "again")]
)
def test_a_malformed_split_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_split_file(path)
