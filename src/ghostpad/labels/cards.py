"""Model and dataset cards: the `README.md` of an export, with metadata that the Hugging Face hub reads."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostpad import __version__
from ghostpad.frames.splits import SPLITS
from ghostpad.io import read_json
from ghostpad.labels.folder import Labels
from ghostpad.labels.formats import LabelFormat

if TYPE_CHECKING:
    from ghostpad.model.latent_action_model import LatentActionModel

TAGS = ["latent-actions", "world-models", "ghostpad"]
METRICS = {
    "reconstruction.psnr_db": "PSNR of the next frame (dB)",
    "reconstruction.copy_psnr_db": "PSNR of copying the current frame (dB)",
    "reconstruction.gain_over_copy_db": "Gain over copying (dB)",
    "reconstruction.moving_psnr_db": "PSNR of moving pixels (dB)",
    "reconstruction.ssim": "SSIM",
    "reconstruction.delta_psnr_db": "Lost with codes of other transitions, ΔPSNR (dB)",
    "codebook.usage": "Share of the codebook in use",
    "codebook.perplexity": "Perplexity of the codes",
    "agreement.accuracy": "Controls named correctly by a linear probe on the codes",
    "agreement.chance": "Controls named correctly by always naming the most frequent one",
}
"""The keys of `metrics.json` that a model card gives, and their names there."""
_MODEL_LOADING = {
    "safetensors": """\
from ghostpad import LatentActionModel

model = LatentActionModel.from_pretrained("path/to/this/folder")""",
    "onnx": """\
import onnxruntime

session = onnxruntime.InferenceSession("path/to/this/folder/encoder.onnx")
codes = session.run(None, {"frames": frames, "next_frames": next_frames})  # float32, 0 to 1""",
}
_ABOUT = {"game", "split", "num_episodes", "num_transitions", "data_fingerprint"}
"""Keys of `metrics.json` that say what was measured."""
_SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}


def find_metrics(model_hash: str, *folders: Path) -> dict[str, Any]:
    """Return the first `metrics.json` in `folders` that is of this model; empty if there is none."""
    for folder in folders:
        with suppress(OSError, ValueError, AttributeError):  # missing, damaged or of something else
            metrics = read_json(folder / "metrics.json")
            if metrics.get("model_hash") == model_hash and metrics.keys() >= _ABOUT:
                return metrics
    print("the card has no metrics of this model; run 'ghostpad evaluate', and give its folder with --report")
    return {}


def model_card(
    model: "LatentActionModel", file_format: str, metrics: dict[str, Any], license_name: str
) -> str:
    """Return a model card with `metrics`, those of `metrics.json` or none, as its evaluation results."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    results, measured = [], ""
    for key, name in METRICS.items():
        section, _, last = key.partition(".")
        if (value := metrics.get(section, {}).get(last)) is not None:
            result = EvalResult(
                task_type="image-to-image",
                task_name="next frame from a frame and codes",
                dataset_type="gameplay-video",
                dataset_name=f"{metrics['game'] or 'video'}, {metrics['num_transitions']:,} transitions",
                dataset_split=metrics["split"],
                dataset_revision=metrics["data_fingerprint"],
                metric_type=key,
                metric_name=name,
                metric_value=value,
            )
            results.append(result)
            measured += f"| {name} | {value:.4g} |\n"
    data = ModelCardData(license=license_name, library_name="ghostpad", tags=TAGS)
    if results:
        data.model_name, data.eval_results = "Latent action model", results
        where = f"{metrics['num_transitions']:,} transitions of {metrics['num_episodes']} episodes"
        measured = f"""
## Measured

On {where} of the {metrics["split"]} split.

| metric | value |
|---|--:|
{measured}"""
    rows, columns = model.grid
    return str(
        ModelCard(f"""\
---
{data.to_yaml()}
---

# Latent action model

Infers from two frames the discrete action between them: {rows} rows of {columns} codes, each one out of
{model.codebook_size}. Made by Ghostpad {__version__}; SHA-256 of weights and config: `{model.model_hash}`.

```python
{_MODEL_LOADING[file_format]}
```
{measured}""")
    )


def dataset_card(labels: Labels, label_format: LabelFormat, license_name: str) -> str:
    """Return a dataset card: content and origin of an export, and how to load it."""
    from huggingface_hub import DatasetCard, DatasetCardData

    origin, manifest, stride = labels.origin, labels.manifest, labels.origin.stride
    counts = Counter[str]()
    for episode in manifest["episodes"]:
        counts[episode["split"]] += episode["num_transitions"]
    total, (rows, columns) = manifest["num_transitions"], origin.grid
    files = label_format.data_files(labels) if label_format.data_files else None
    data = DatasetCardData(
        pretty_name="Latent actions",
        license=license_name,
        size_categories=next((name for limit, name in _SIZES.items() if total < limit), "n>10M"),
        tags=[*TAGS, *label_format.tags],
        library_name="ghostpad",
        configs=[{"config_name": "default", "data_files": files}] if files else None,
    )
    split_rows = "\n".join(f"| {split} | {counts[split]:,} |" for split in SPLITS if counts[split])
    controls = manifest["control_names"]
    rates = " or ".join(f"{rate} ({float(rate):.5g})" for rate in labels.rates) or "an unknown number of"
    known = f"\n`control` is the real control held, by number: {', '.join(controls)}.\n" if controls else ""
    return str(
        DatasetCard(f"""\
---
{data.to_yaml()}
---

# Latent actions

Every transition between two frames of {manifest["num_episodes"]:,} episodes, with the discrete latent
action that a model inferred from the two frames alone: {rows} rows of {columns} codes, each one out of
{origin.codebook_size}, row by row from the top left.

| split | transitions |
|---|---|
{split_rows}

The splits are whole episodes. A next frame comes {"1 frame" if stride == 1 else f"{stride} frames"} after
its frame, at {rates} frames a second. Frames are {manifest["height"]} pixels high and
{manifest["width"]} wide; the model saw them in {"grayscale" if origin.grayscale else "colour"}.
{known}
## Loading

{label_format.loading.replace("{folder}", "path/to/this/folder")}

## Origin

Made by Ghostpad {__version__}.

- model: `{origin.model_hash}` (SHA-256 of weights and config)
- frames: `{origin.store_fingerprint}` (SHA-256)
""")
    )
