"""The dataset card: what is in an export, where it comes from, and how to load it."""

from collections import Counter
from pathlib import Path

from ghostpad import __version__
from ghostpad.frames.splits import SPLITS
from ghostpad.labels.folder import Labels

_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
)

_LOADING = {
    "datasets": """\
```python
from datasets import load_dataset

dataset = load_dataset("{folder}")  # or load_dataset("parquet", data_dir="{folder}")
print(dataset["train"][0]["codes"])
```""",
    "lerobot": """\
A LeRobotDataset v3.0: `LeRobotDataset("user/name", root="{folder}")`. The video is H.264 in RGB with
quantizer 0: every pixel is that of the recording. `latent_action` is the action of the transition that
starts at a frame; it is -1 at the last frames of an episode, which start none.""",
    "npz": """\
```python
import numpy as np

shard = np.load("{folder}/labels-000000.npz")
print(shard["codes"].shape, shard["episode_index"][:3], shard["frame_index"][:3])
```""",
    "jsonl": """\
One JSON object per line with the field names of [LAPA](https://github.com/LatentActionPretraining/LAPA):
`delta` holds the codes as strings. `image` and `next_image` name frames as `<episode>/<frame>.png`.""",
}


def write_card(labels: Labels, file_format: str, folder: Path) -> None:
    """Write `README.md` into the export in `folder`."""
    (folder / "README.md").write_text(card(labels, file_format), encoding="utf-8")


def card(labels: Labels, file_format: str) -> str:
    """Return the dataset card, as the Hugging Face Hub reads it."""
    origin, content, stride = labels.origin, labels.content, labels.origin.stride
    counts = Counter[str]()
    for episode in content["episodes"]:
        counts[episode["split"]] += episode["num_transitions"]
    total, (rows, columns) = content["num_transitions"], origin.grid
    size = next((name for most, name in _SIZES if total < most), "n>10M")
    tags = ["latent-actions", "world-models", "ghostpad", *(["LeRobot"] if file_format == "lerobot" else [])]
    split_rows = "\n".join(f"| {split} | {counts[split]:,} |" for split in SPLITS if counts[split])
    controls = content["control_names"]
    known = f"\n`control` is the real control held, by number: {', '.join(controls)}.\n" if controls else ""
    return f"""\
---
pretty_name: Latent actions
size_categories:
- {size}
tags:
{chr(10).join(f"- {tag}" for tag in tags)}
{_configs(labels, file_format)}---

# Latent actions

Every transition between two frames of {content["num_episodes"]:,} episodes, with the discrete latent
action that a model inferred from the two frames alone: {rows} rows of {columns} codes, each one out of
{origin.codebook_size}, row by row from the top left.

| split | transitions |
|---|---|
{split_rows}

The splits are whole episodes. A next frame comes {"1 frame" if stride == 1 else f"{stride} frames"} after
its frame. Frames are {content["height"]} pixels high and {content["width"]} wide; the model saw them in
{"grayscale" if origin.grayscale else "colour"}.
{known}
## Loading

{_LOADING[file_format].replace("{folder}", "path/to/this/folder")}

## Origin

Made by Ghostpad {__version__}.

- model: `{origin.model_hash}` (SHA-256 of weights and config)
- frames: `{origin.store_fingerprint}` (SHA-256)
"""


def _configs(labels: Labels, file_format: str) -> str:
    """Tell the Hub where the rows are."""
    if file_format == "lerobot":
        return "configs:\n- config_name: default\n  data_files: data/*/*.parquet\n"
    if file_format != "datasets":
        return ""
    splits = {episode["split"] for episode in labels.content["episodes"] if episode["num_transitions"]}
    files = "".join(
        f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in SPLITS if split in splits
    )
    return f"configs:\n- config_name: default\n  data_files:\n{files}"
