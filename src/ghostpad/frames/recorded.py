"""The recorded controls of a store: one numbering for all its episodes, shifted by the action offset.

A store keeps actions as the recording has them. Some recordings store the action taken *in* a frame, others
the one that *led to* it; the offset says which, and is applied when controls are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ghostpad.frames.manifest import Episode
from ghostpad.sources.actions import MOST_CONTROLS

_OTHER = "other"


@dataclass(frozen=True)
class RecordedControls:
    """The controls of the episodes of a store."""

    episodes: Sequence[Episode]
    offset: int
    """The control of the transition from frame t is action t + offset."""

    @cached_property
    def _shared_names(self) -> list[str]:
        """Names of all episodes that number them by themselves, in the order of their appearance."""
        names: dict[str, None] = {}
        for episode in self.episodes:
            if (metadata := episode.metadata) and metadata.get("names_by_episode"):
                names |= dict.fromkeys(metadata["control_names"])
        return list(names) if len(names) <= MOST_CONTROLS else [*list(names)[: MOST_CONTROLS - 1], _OTHER]

    @cached_property
    def _numbers(self) -> list[str] | None:
        """Names for controls that have none in any episode: their numbers."""
        known = [episode.metadata for episode in self.episodes if episode.metadata]
        if any(metadata.get("control_names") for metadata in known):
            return None
        highest = max((max(metadata.get("controls") or [-1]) for metadata in known), default=-1)
        return [str(number) for number in range(highest + 1)]

    def names(self, episode_index: int) -> list[str] | None:
        """Names of the controls, by their number; None when no controls were recorded."""
        metadata = self.episodes[episode_index].metadata
        if not metadata:
            return None
        if metadata.get("names_by_episode"):
            return self._shared_names
        return metadata.get("control_names") or (self._numbers if "controls" in metadata else None)

    def controls(self, episode_index: int) -> np.ndarray | None:
        """The control held during each transition, int8 (N − 1,); None when not recorded.

        Where the offset asks for an action before the first or after the last one that is recorded, that one
        is repeated.
        """
        metadata = self.episodes[episode_index].metadata
        if not metadata or "controls" not in metadata:
            return None
        controls = np.array([*metadata["controls"], *metadata.get("controls_after", [])], np.int64)
        if metadata.get("names_by_episode"):
            shared = {name: number for number, name in enumerate(self._shared_names)}
            numbers = [shared.get(name, MOST_CONTROLS - 1) for name in metadata["control_names"]]
            controls = np.array(numbers, np.int64)[controls]
        places = np.arange(len(metadata["controls"])) + self.offset
        return controls[np.clip(places, 0, len(controls) - 1)].astype(np.int8)
