"""From PNGs to a store to labels to a LeRobotDataset and back to a store: not a bit is lost."""

import json
from pathlib import Path

import numpy as np
import pytest

from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.labels.export import ExportConfig, export
from ghostpad.labels.extract import ExtractConfig, extract
from recordings import noise, write_pngs
from small_model import saved, small_model


@pytest.mark.parametrize("kind", ["palette", "gray", "rgb"])
def test_pixels_and_controls_survive_png_store_labels_lerobot_store(kind: str, tmp_path: Path) -> None:
    episodes = {f"e{seed}": noise(21 + seed, kind, seed) for seed in range(3)}
    source = write_pngs(tmp_path / "in", episodes)
    for seed in range(3):
        controls = (np.arange(20 + seed) % 4).tolist()
        known = {"controls": controls, "control_names": ["NOOP", "FIRE", "RIGHT", "LEFT"]}
        (source / f"e{seed}" / "episode.json").write_text(json.dumps(known))
    store = ingest(IngestConfig(source))
    assert store.encoding == kind
    model = saved(small_model(store), tmp_path / "best.pt")
    labels = extract(ExtractConfig(model, store.path, tmp_path / "labels", runtime="torch"))
    export(ExportConfig(labels=labels.path, format="lerobot", out=tmp_path / "robot"))
    again = ingest(IngestConfig(tmp_path / "robot"))
    assert [episode.sha256 for episode in again.episodes] == [episode.sha256 for episode in store.episodes]
    for index, frames in enumerate(episodes.values()):
        rgb = np.stack([np.dstack([frame] * 3) if frame.ndim == 2 else frame for frame in frames])
        read = again.read(index, np.arange(len(frames)), grayscale=False)
        assert np.array_equal(read, rgb.transpose(0, 3, 1, 2))
        controls, expected = again.controls(index), store.controls(index)
        assert controls is not None
        assert expected is not None
        assert np.array_equal(controls, expected)
        assert again.control_names(index) == store.control_names(index)
