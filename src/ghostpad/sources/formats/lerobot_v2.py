"""LeRobotDatasets in version 2.0 or 2.1, which keep a table and a video of each camera for every episode."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ghostpad.io import read_json
from ghostpad.sources.base import IngestLog, Source, Unit, fingerprint, stamp
from ghostpad.sources.formats.lerobot import LeRobotUnit, Span, describe

_INFO, _EPISODES = Path("meta") / "info.json", Path("meta") / "episodes.jsonl"
_EPISODES_PER_CHUNK = 1000


class LeRobotDatasetV2(Source):
    """A LeRobotDataset in version 2 of its format."""

    name = "LeRobotDatasets"
    layout = "the folder with `meta/info.json` and `meta/episodes.jsonl`, version 2.0 or 2.1"
    becomes = "its episodes and actions"
    rank = -1
    options = ("camera",)

    def recognizes(self, path: Path) -> bool:
        """Whether `path` has the list of episodes that version 3 no longer has."""
        return (path / _INFO).is_file() and (path / _EPISODES).is_file()

    def list_units(self, path: Path, options: Mapping[str, Any], log: IngestLog) -> list[Unit]:
        """A unit for each episode; those whose video is missing are rejected."""
        info = read_json(path / _INFO)
        camera, names, fps = describe(path, info, options)
        units: list[Unit] = []
        for line in (path / _EPISODES).read_text(encoding="utf-8-sig").splitlines():
            if not line.strip():
                continue
            row = json.loads(line)
            index, length = int(row["episode_index"]), int(row["length"])
            chunk = index // int(info.get("chunks_size") or _EPISODES_PER_CHUNK)
            place = {"episode_chunk": chunk, "episode_index": index, "video_key": camera}
            data = path / info["data_path"].format(**place)
            is_video = info["features"][camera]["dtype"] == "video"
            file = path / info["video_path"].format(**place) if is_video else data
            log.check_link(file, path)
            span = Span(index, length, 0.0, data)
            if not file.is_file() or not data.is_file():
                log.reject(span.name, data if file.is_file() else file, "is missing")
                continue
            stamps = repr((span.name, stamp(file), stamp(data), camera, length))
            units.append(
                LeRobotUnit(
                    span.name, fingerprint(stamps), length, file, camera, path, (span,), names, fps=fps
                )
            )
        return units
