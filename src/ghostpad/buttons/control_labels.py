"""Labelled transitions that people write by hand: a csv file of episode, frame and control."""

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore

HEADER = ["episode", "frame", "control"]


@dataclass(frozen=True)
class LabelFile:
    """What a file says.

    Attributes:
        names: of the controls, in the order in which the file first names them.
        numbers: the control held after a frame, by episode (its place in the store) and frame.
    """

    names: list[str]
    numbers: dict[tuple[int, int], int]

    def of(self, transitions: Transitions) -> np.ndarray:
        """(T,) number of the control of each transition, -1 where the file says nothing."""
        places = zip(transitions.episode_index.tolist(), transitions.frame_index.tolist(), strict=True)
        return np.array([self.numbers.get(place, -1) for place in places])


def read_labels(path: Path, store: FrameStore, stride: int) -> LabelFile:
    """Read a csv file with the columns episode (its name), frame (0…) and control (any name).

    The control is the one held from that frame to the next, `stride` frames later. A line may stand twice.

    Raises:
        UserError: there is no such file, or one of its lines is wrong; the line is named.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a csv file with {','.join(HEADER)}") from None
    except (UnicodeDecodeError, csv.Error):
        raise UserError(f"{path}: not a csv file in UTF-8; save it as one") from None
    if not rows or [cell.strip().lower() for cell in rows[0]] != HEADER:
        raise UserError(f"{path}: the first line must be {','.join(HEADER)}")
    episodes = {episode.name: place for place, episode in enumerate(store.episodes)}
    names: list[str] = []
    numbers: dict[tuple[int, int], int] = {}
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        where = f"{path}, line {line}"
        if len(row) != len(HEADER) or not all(cell.strip() for cell in row):
            raise UserError(f"{where}: wants {','.join(HEADER)}, three values")
        name, frame, control = (cell.strip() for cell in row)
        place = _place(name, frame, episodes, store, stride, where)
        if control not in names:
            names.append(control)
        if numbers.setdefault(place, names.index(control)) != names.index(control):
            before = names[numbers[place]]
            raise UserError(f"{where}: {name}, frame {frame} is {control}, but was {before} before; keep one")
    if not numbers:
        raise UserError(f"{path}: holds no labels; write a line for each labelled transition")
    return LabelFile(names, numbers)


def _place(
    name: str, frame: str, episodes: dict[str, int], store: FrameStore, stride: int, where: str
) -> tuple[int, int]:
    if name not in episodes:
        close = difflib.get_close_matches(name, episodes, n=1)
        meant = f"; did you mean {close[0]}?" if close else "; 'ghostpad info' shows its contact sheet"
        raise UserError(f"{where}: {store.path} has no episode {name}{meant}")
    last = store.episodes[episodes[name]].num_frames - 1 - stride
    if not (frame.isascii() and frame.isdigit() and int(frame) <= last):
        raise UserError(f"{where}: frame {frame} of {name} must be a whole number from 0 to {last}")
    return episodes[name], int(frame)
