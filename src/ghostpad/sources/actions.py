"""Recorded actions of any discrete form as controls: numbers with names.

Dimensions: N frames, A buttons.
"""

import numbers
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ghostpad.sources.base import BadInput, Frame, IngestLog, Unit

NOTHING_HELD = "NOOP"  # name of the control that stands for no button at all
MOST_CONTROLS = 128  # controls are kept as int8


@dataclass(frozen=True)
class Controls:
    """The controls of an episode."""

    numbers: list[int]
    names: list[str] | None
    """By number; None where actions are plain numbers."""
    names_by_episode: bool = False
    """Whether another episode may number the same names differently; the frame store then unites them."""
    ignored: tuple[str, ...] = ()
    """Entries of the actions that are not buttons."""

    def metadata(self, start: int, num_frames: int) -> dict[str, Any]:
        """The entries of `episode.json` for `num_frames` frames from `start` on; none if actions are missing.

        `controls_after` is the action in the last frame, which an action offset may need.
        """
        end = start + num_frames - 1
        if len(self.numbers) < end:
            return {}
        entries: dict[str, Any] = {
            "controls": self.numbers[start:end],
            "controls_after": self.numbers[end : end + 1],
        }
        if self.names:
            entries["control_names"] = self.names
        if self.names_by_episode:
            entries["names_by_episode"] = True
        return entries


class UnitWithActions(Unit):
    """A unit whose recording may hold actions."""

    @abstractmethod
    def controls(self, episode: str) -> Controls | str | None:
        """The controls of an episode, or why its actions are no controls; None if there are no actions.

        Raises:
            BadInput: the actions are damaged.
        """

    def decode(self, log: IngestLog) -> Iterator[Frame]:
        """See `Unit.decode`; what is not kept of the actions is noted."""
        noted = set[str]()
        for frame in super().decode(log):
            if frame.episode not in noted:
                noted.add(frame.episode)
                with suppress(BadInput):  # `metadata` raises it again
                    self._note(self.controls(frame.episode), log)
            yield frame

    def _note(self, controls: Controls | str | None, log: IngestLog) -> None:
        if isinstance(controls, str):
            log.note(f"{controls}; they are not kept")
        elif controls and controls.ignored:
            log.note(f"not kept of the actions, as they are no buttons: {', '.join(controls.ignored)}")

    def metadata(self, episode: str, start: int, num_frames: int) -> dict[str, Any] | None:
        """The actions as controls."""
        controls = self.controls(episode)
        return (controls.metadata(start, num_frames) or None) if isinstance(controls, Controls) else None


def controls_or_reason(actions: Any, names: Sequence[str] | None = None) -> Controls | str:
    """As `to_controls`, but a sentence that says why the actions are none, instead of a BadInput."""
    try:
        return to_controls(actions, names)
    except BadInput as bad:
        return f"actions {bad}"


def to_controls(actions: Any, names: Sequence[str] | None = None) -> Controls:
    """Controls that stand for actions.

    Args:
        actions: N integers from 0 to 127 (also as floats); texts; one-hot rows (N, A), whose number is the
            place of the one; rows (N, A) of buttons, 0 or 1; sets of names of held buttons; mappings from a
            button to whether it is held. Each combination of buttons becomes a control of its own.
        names: of the numbers, or of the A buttons, if the recording has them.

    Raises:
        BadInput: the actions are of none of these forms; the message says what they are.
    """
    if not len(actions):
        return Controls([], None)
    first = actions[0]
    if isinstance(first, Mapping):
        return _from_mappings(actions)
    if isinstance(first, bytes | str):
        return _combinations([[each.decode() if isinstance(each, bytes) else each] for each in actions])
    if isinstance(first, set | frozenset) or (
        isinstance(first, list | tuple) and all(isinstance(name, str) for each in actions for name in each)
    ):
        return _combinations([sorted(set(map(str, each))) for each in actions])
    try:
        array = np.asarray(actions)
    except ValueError:
        raise BadInput("are rows of different lengths") from None
    if array.dtype.kind in "SUO" and array.ndim == 1 and all(isinstance(each, bytes | str) for each in array):
        return to_controls(array.tolist())
    return _from_array(array, names)


def _from_array(array: np.ndarray, names: Sequence[str] | None) -> Controls:
    if array.ndim > 1 and array[0].size == 1:
        array = array.reshape(len(array))
    if array.dtype.kind not in "biuf" or array.ndim > 2:
        raise BadInput(f"are of type {array.dtype} and shape {array.shape}, not controls")
    if array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
        width = f"{array.shape[1]} numbers each" if array.ndim == 2 else "fractions"
        raise BadInput(f"are continuous ({width})")
    whole = array.astype(np.int64)
    if array.ndim == 1:
        if whole.min() < 0 or whole.max() >= MOST_CONTROLS:
            span = f"{whole.min()} to {whole.max()}"
            raise BadInput(f"are {span}; controls are numbers from 0 to {MOST_CONTROLS - 1}")
        fits = names is not None and whole.max() < len(names)
        return Controls(whole.tolist(), list(map(str, names)) if fits and names else None)
    if not np.isin(whole, (0, 1)).all():
        raise BadInput(f"are {array.shape[1]} numbers each, not buttons of 0 and 1")
    buttons = list(
        map(str, names if names is not None and len(names) == array.shape[1] else range(array.shape[1]))
    )
    return _combinations([[buttons[place] for place in np.flatnonzero(row)] for row in whole], buttons)


def _combinations(held: Iterable[Sequence[str]], buttons: Sequence[str] = ()) -> Controls:
    """A control for each combination of held buttons, the single `buttons` first."""
    place = {name: number for number, name in enumerate(buttons)}
    numbers = [place.setdefault("+".join(names) or NOTHING_HELD, len(place)) for names in held]
    return Controls(numbers, list(place), names_by_episode=True)


def _is_button(value: Any) -> bool:
    return isinstance(value, bool | np.bool_) or (isinstance(value, numbers.Number) and value in (0, 1))


def _from_mappings(actions: Sequence[Mapping[str, Any]]) -> Controls:
    """Controls from the entries that are buttons everywhere; the others are named in `ignored`."""
    buttons = {str(name): True for action in actions for name in action}
    for action in actions:
        for name, value in action.items():
            buttons[str(name)] &= _is_button(value)
    if not any(buttons.values()):
        raise BadInput(f"hold no buttons of 0 and 1 among {', '.join(buttons) or 'no entries'}")
    held = [[str(name) for name, value in each.items() if buttons[str(name)] and value] for each in actions]
    return replace(_combinations(held), ignored=tuple(name for name, is_one in buttons.items() if not is_one))
