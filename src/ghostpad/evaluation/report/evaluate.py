"""`ghostpad evaluate`: measure a model on held-out episodes, and write `metrics.json` and `report.html`."""

import time
from pathlib import Path
from typing import Any

from ghostpad.errors import UserError
from ghostpad.evaluation.assess import Assessment, assess
from ghostpad.evaluation.config import EvaluateConfig
from ghostpad.evaluation.inference import load_model
from ghostpad.frames.ingest import open_data
from ghostpad.frames.splits import MIN_EPISODES
from ghostpad.io import whole_file, write_json

METRICS, REPORT = "metrics.json", "report.html"


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Measure a model, write the report, and return the content of `metrics.json`.

    Raises:
        UserError: the model or the data cannot be read or do not fit each other, or `out` has other files.
    """
    from ghostpad.evaluation.report.render import render  # loads matplotlib

    began = time.perf_counter()
    check_folder(config.out)
    store = open_data(config.data, config.workers, MIN_EPISODES)
    paths = (config.model, *config.compare)
    models = [load_model(path, store, config.split, config.device) for path in paths]
    assessments: list[Assessment] = []
    for path, model in zip(paths, models, strict=True):
        first = assessments[0] if assessments else None
        assessments.append(
            assess(model, store, config.split, config.amounts, config.seed, name=str(path), first=first)
        )
    page, metrics = render(assessments, config.amounts, config.seed), assessments[0].metrics
    if config.compare:
        metrics["compare"] = {item.name: item.metrics for item in assessments[1:]}
    metrics["timing"] = {"seconds": round(time.perf_counter() - began, 1)}
    with whole_file(config.out / REPORT) as temporary:
        temporary.write_text(page, encoding="utf-8")
    write_json(config.out / METRICS, metrics)
    print(f"report: {config.out / REPORT}\nmetrics: {config.out / METRICS}")
    return metrics


def check_folder(out: Path) -> None:
    """Refuse a folder that contains other files than a report.

    Raises:
        UserError: `out` is a file, or a folder with files but without a report.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; choose a folder for the report with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / REPORT).is_file():
        raise UserError(f"{out}: contains other files and no report.html; choose another folder with --out")
