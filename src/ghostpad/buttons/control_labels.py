"""Transitions labelled by hand: a csv file of episode, frame and control."""

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.io import read_csv

HEADER = ["episode", "frame", "control"]


@dataclass(frozen=True)
class LabelFile:
    """Labels of a file.

    Attributes:
        names: of the controls, in the order in which the file first names them.
        numbers: the control held from a frame on, by episode (its index in the store) and frame.
    """

    names: list[str]
    numbers: dict[tuple[int, int], int]

    def of(self, transitions: Transitions) -> np.ndarray:
        """(T,) number of the control of each transition, -1 where it is not labelled."""
        places = zip(transitions.episode_index.tolist(), transitions.frame_index.tolist(), strict=True)
        return np.array([self.numbers.get(place, -1) for place in places])


def read_labels(path: Path, store: FrameStore, stride: int) -> LabelFile:
    """Read a csv file with the columns episode (its name), frame (0…) and control (any name).

    The control is the one held from that frame to the next, `stride` frames later. A line may be repeated.

    Raises:
        UserError: there is no such file, or a line of it is wrong; the line is named.
    """
    try:
        rows = read_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a csv file with {','.join(HEADER)}") from None
    except ValueError:
        raise UserError(f"{path}: not a csv file in UTF-8; save it as one") from None
    if not rows or [cell.lower() for cell in rows[0]] != HEADER:
        raise UserError(f"{path}: the first line must be {','.join(HEADER)}")
    controls: dict[tuple[int, int], str] = {}
    for line, row in enumerate(rows[1:], 2):
        if any(row):
            try:
                frame, control = _parse(row, store, stride)
                if controls.setdefault(frame, control) != control:
                    where, before = f"frame {frame[1]} of {row[0].strip()}", controls[frame]
                    raise UserError(f"{where} is {control}, but {before} in an earlier line; keep one")
            except UserError as error:
                raise UserError(f"{path}, line {line}: {error}") from None
    if not controls:
        raise UserError(f"{path}: holds no labels; write a line for each labelled transition")
    names = list(dict.fromkeys(controls.values()))
    return LabelFile(names, {frame: names.index(control) for frame, control in controls.items()})


def _parse(row: list[str], store: FrameStore, stride: int) -> tuple[tuple[int, int], str]:
    """Index of the episode, frame, and control."""
    if len(row) != len(HEADER) or not all(cell.strip() for cell in row):
        raise UserError(f"expected {','.join(HEADER)}, three values")
    name, frame, control = (cell.strip() for cell in row)
    names = [episode.name for episode in store.episodes]
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}?" if close else "'ghostpad info' draws them with their names"
        raise UserError(f"{store.path} has no episode {name}; {hint}")
    episode = names.index(name)
    last = store.episodes[episode].num_frames - 1 - stride
    if not (frame.isascii() and frame.isdigit() and int(frame) <= last):
        raise UserError(f"frame {frame} of {name} must be a whole number from 0 to {last}")
    return (episode, int(frame)), control
