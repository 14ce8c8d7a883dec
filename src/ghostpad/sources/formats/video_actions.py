"""Videos with a `.jsonl` of the same name, a line per frame: Minecraft by the contractors of OpenAI's VPT.

A line is a mapping: `keyboard: {keys: [...]}` and `mouse: {buttons: [...]}`; or `action`, `keys` or `buttons`
(a number, a name, a list of those held, or a mapping to 0 and 1); or itself a mapping of buttons to 0 and 1.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ghostpad.sources.actions import Controls, UnitWithActions, to_controls
from ghostpad.sources.base import BadInput, Frame, IngestLog, Unit, damage_is, fingerprint, stamp
from ghostpad.sources.formats.video import SUFFIXES, Video, VideoUnit

_ENTRIES = ("action", "actions", "control", "keys", "buttons", "held", "pressed")
_VPT_PREFIX = "key.keyboard."


class VideoWithActions(Video):
    """A video beside a file of actions."""

    name = "videos with actions"
    layout = "`NAME.mp4` beside `NAME.jsonl`: a line per frame with the keys and buttons held"
    becomes = "an episode per video; each combination of keys is a control"
    rank = 0
    options = ("episode_seconds", "scene_cut", "track", "actions_key")

    def recognizes(self, path: Path) -> bool:
        """Whether `path` is a video with actions beside it, or these actions."""
        if path.suffix.lower() == ".jsonl":
            return any(path.with_suffix(suffix).is_file() for suffix in SUFFIXES)
        return super().recognizes(path) and path.with_suffix(".jsonl").is_file()

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """The video is one unit; its actions hold no frames."""
        if path.suffix.lower() == ".jsonl":
            return []
        actions, key = path.with_suffix(".jsonl"), options.get("actions_key")
        units: list[Unit] = []
        all_frames = {name: value for name, value in options.items() if name in self.options}  # not --fps
        for unit in super().list_units(path, all_frames, log):
            fields: dict[str, Any] = dict(vars(unit))
            fields["fingerprint"] = fingerprint(f"{unit.fingerprint} {stamp(actions)} {key}")
            units.append(VideoWithActionsUnit(**fields, actions_key=key))
        return units


@dataclass(frozen=True)
class VideoWithActionsUnit(UnitWithActions, VideoUnit):
    """One video and its actions."""

    actions_key: str | None = None
    """Entry of a line that holds the action."""

    def frames(self, log: IngestLog) -> Iterator[Frame]:
        """Decode the video, and compare its length with that of the actions."""
        count = 0
        for frame in super().frames(log):
            count = frame.number + 1
            yield frame
        try:
            controls = self.controls(self.name)
        except BadInput:
            return  # `metadata` raises it again
        if len(controls.numbers) not in (count, count - 1):
            log.note(
                f"{self.name} has {count} frames, but {len(controls.numbers)} lines of actions beside it"
            )

    def controls(self, episode: str) -> Controls:
        """The held buttons as controls."""
        path = self.path.with_suffix(".jsonl")
        return _read_controls(path, self.actions_key, stamp(path))


@lru_cache(maxsize=4)
def _read_controls(path: Path, key: str | None, when: tuple[int, int]) -> Controls:
    with damage_is(f"has actions in {path.name} that cannot be read"):
        lines = [
            json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()
        ]
        try:
            controls = to_controls([_action(line, key) for line in lines])
        except BadInput as bad:
            raise BadInput(f"has actions in {path.name} that {bad}") from None
        except KeyError:
            raise BadInput(f"has a line without {key} in {path.name}; choose another --actions-key") from None
        mice = [line["mouse"] for line in lines if isinstance(line, Mapping) and "mouse" in line]
        if any(isinstance(mouse, Mapping) and (mouse.get("dx") or mouse.get("dy")) for mouse in mice):
            controls = replace(controls, ignored=(*controls.ignored, "movements of the mouse"))
        return controls


def _action(line: Any, key: str | None) -> Any:
    if not isinstance(line, Mapping):
        return line
    if key is not None:
        return line[key]
    if "keyboard" in line or "mouse" in line:
        keys = (line.get("keyboard") or {}).get("keys") or []
        buttons = (line.get("mouse") or {}).get("buttons") or []
        return [str(name).removeprefix(_VPT_PREFIX) for name in keys] + [
            f"mouse{button}" for button in buttons
        ]
    return next((line[name] for name in _ENTRIES if name in line), line)
