"""Print the README's table of measured numbers from a demo's metrics: `python benchmarks/readme_table.py`."""

import json
import sys
from pathlib import Path
from typing import Any

ROWS = [
    ("PSNR", "dB", "reconstruction", "psnr_db", "copy_psnr_db"),
    ("PSNR of moving pixels", "dB", "reconstruction", "moving_psnr_db", "copy_moving_psnr_db"),
    ("SSIM", "", "reconstruction", "ssim", "copy_ssim"),
    ("lost with codes of other transitions (ΔPSNR)", "dB", "reconstruction", "delta_psnr_db", None),
    ("codebook in use", "%", "codebook", "usage", None),
    ("perplexity of the codes", "", "codebook", "perplexity", None),
    ("ball within 2 pixels", "%", "elements.ball", "within_2px", "copy_within_2px"),
    ("false balls", "%", "elements.ball", "false_share", "copy_false_share"),
    ("paddle within 2 pixels", "%", "elements.paddle", "within_2px", "copy_within_2px"),
    ("brick states right", "%", "elements.bricks", "state_accuracy", "copy_state_accuracy"),
    ("bricks that vanish, found", "%", "elements.bricks", "vanish_recall", "copy_vanish_recall"),
]


def table(metrics: dict[str, Any]) -> str:
    """Return a Markdown table of what the demo measured, beside copying the current frame."""
    head = f"{metrics['num_episodes']} held-out episodes, {metrics['num_transitions']:,} transitions"
    lines = [f"| {head} | model | copying |", "|---|---:|---:|"]
    for name, unit, group, key, twin in ROWS:
        values: Any = metrics
        for part in group.split("."):
            values = values.get(part) or {}
        cells = [_cell(values.get(key), unit), _cell(values.get(twin), unit) if twin else ""]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "%":
        return f"{100 * value:.{2 if value > 0.99 else 1}f} %"
    return f"{value:.{1 if value >= 1 else 4}f} {unit}".rstrip()


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "demo/report/metrics.json")
    print(table(json.loads(path.read_text(encoding="utf-8"))))
