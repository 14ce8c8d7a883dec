"""Which episodes train, validate and test: drawn by a seed, unchanged by episodes that are added later."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghostpad.errors import UserError
from ghostpad.io import read_csv

SPLITS = ("train", "validation", "test")
MIN_EPISODES = 3
_BLOCK = 10


def assign_splits(num_episodes: int, seed: int = 0) -> list[str]:
    """Draw 80 % train, 10 % validation, 10 % test, in blocks of ten episodes in natural order.

    Each block gives one episode to validation and one to test, the first block among its first three, so
    that three episodes suffice. An episode's split depends on the seed and its position only: episodes added
    at the end change no other's.

    Raises:
        UserError: there are fewer than three episodes.
    """
    if num_episodes < MIN_EPISODES:
        raise UserError(too_few(num_episodes))
    splits = ["train"] * num_episodes
    for start in range(0, num_episodes, _BLOCK):
        rng = np.random.default_rng(np.random.SeedSequence([seed, start // _BLOCK]))
        drawn = rng.choice(MIN_EPISODES if start == 0 else _BLOCK, size=2, replace=False)
        for split, position in zip(("validation", "test"), start + drawn, strict=True):
            if position < num_episodes:
                splits[position] = split
    return splits


def too_few(num_episodes: int) -> str:
    """Why fewer than three episodes are not enough, for an error message."""
    have = "1 episode" if num_episodes == 1 else f"{num_episodes} episodes"
    more = f"add some until there are {MIN_EPISODES}, or cut videos by a smaller --episode-seconds"
    return f"{have}, but train, validation and test need one each: {more}"


@dataclass(frozen=True)
class Splitting:
    """How a store assigns its episodes to train, validation and test."""

    seed: int = 0
    own: dict[str, str] | None = None
    """Split by episode name, when the user provides them."""

    def __post_init__(self) -> None:
        """Refuse what a damaged manifest may hold, with a ValueError."""
        own = {} if self.own is None else dict(self.own)
        if type(self.seed) is not int or self.seed < 0 or not set(own.values()) <= set(SPLITS):
            raise ValueError("not a splitting of episodes")

    def assign(self, names: Sequence[str], originals: Sequence[int]) -> list[str]:
        """Assign a split to each episode; near-duplicates go with their original, so that nothing leaks.

        With fewer than three distinct episodes all of them train: evaluation will refuse, reading will not.
        `originals` are as `find_originals` gives them.

        Raises:
            UserError: an episode is missing from the user's own split.
        """
        if self.own is not None:
            if missing := [name for name in names if name not in self.own]:
                raise UserError(
                    f"--split-file has no line for episode {missing[0]}; add one, or leave the option out"
                )
            return [self.own[name] for name in names]
        distinct = sorted(set(originals))
        enough = len(distinct) >= MIN_EPISODES
        drawn = assign_splits(len(distinct), self.seed) if enough else ["train"] * len(distinct)
        by_original = dict(zip(distinct, drawn, strict=True))
        return [by_original[original] for original in originals]


def read_split_file(path: Path) -> dict[str, str]:
    """Read lines `episode,split`; a first line of exactly these words is a heading.

    Raises:
        UserError: the file is missing, or a line does not have that form.
    """
    try:
        rows = read_csv(path)
    except (OSError, ValueError):
        raise UserError(f"{path}: cannot be read; --split-file takes a CSV of lines episode,split") from None
    own: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        if not any(row) or (number == 1 and [cell.lower() for cell in row] == ["episode", "split"]):
            continue
        if len(row) != 2 or row[1].lower() not in SPLITS:
            raise UserError(
                f"{path}: line {number} is not `episode,split` with a split of {', '.join(SPLITS)}"
            )
        if row[0] in own:
            raise UserError(f"{path}: line {number} names {row[0]} again; remove one of the two")
        own[row[0]] = row[1].lower()
    return own


def find_originals(
    first_frames: Sequence[str], lengths: Sequence[int], read: Callable[[int, int], bytes]
) -> list[int]:
    """For each episode, the index of the first one that it duplicates, or its own.

    Two episodes are near-duplicates when the shorter one is the beginning of the longer one, as when a
    recording was copied, cut short, or made again with the same seed. Only episodes that agree in the last
    frame of the shortest of them are compared, so that few frames are read, and each of them once.

    `read` gives the pixels of a frame by the indices of its episode and of itself.
    """

    def digest(episode: int, frames: Iterable[int]) -> bytes:
        content = hashlib.sha256()
        for frame in frames:
            content.update(read(episode, frame))
        return content.digest()

    # By episode: the groups of equal beginnings that it belongs to, and whether all of it is that beginning.
    groups: list[list[tuple[int, bool]]] = [[] for _ in lengths]
    count = 0
    waiting = _alike(range(len(lengths)), first_frames.__getitem__)
    while waiting:
        members = waiting.pop()
        shortest = min(lengths[index] for index in members)
        for alike in _alike(members, lambda index, n=shortest: digest(index, (n - 1,))):
            if any(lengths[index] == shortest for index in alike):
                for same in _alike(alike, lambda index, n=shortest: digest(index, range(n))):
                    count += 1
                    for index in same:
                        groups[index].append((count, lengths[index] == shortest))
            longer = [index for index in alike if lengths[index] > shortest]
            waiting += [longer] if len(longer) > 1 else []
    originals: list[int] = []
    first: dict[tuple[int, bool], int] = {}  # of each group: the first original that is the beginning, or any
    for index, own in enumerate(groups):
        known = [first[group, not whole] for group, whole in own if (group, not whole) in first]
        originals.append(min(known, default=index))
        if not known:
            for group, whole in own:
                first.setdefault((group, False), index)
                if whole:
                    first.setdefault((group, True), index)
    return originals


def _alike(members: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    """Groups of two or more members with equal keys."""
    groups: dict[Hashable, list[int]] = {}
    for index in members:
        groups.setdefault(key(index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]
