"""The verb `ghostpad doctor`: all verdicts on a recording, and on a model where one is given."""

import dataclasses

from ghostpad.errors import UserError
from ghostpad.evaluation.config import DoctorConfig
from ghostpad.evaluation.doctor import controls, frames
from ghostpad.evaluation.doctor.model import model_verdicts
from ghostpad.evaluation.doctor.verdict import Verdict, to_html, to_text
from ghostpad.evaluation.inference import load_model
from ghostpad.frames.ingest import open_data
from ghostpad.io import whole_file, write_json
from ghostpad.progress import progress

HEALTHY, PROBLEM = 0, 1  # exit statuses
PAGE, VALUES = "doctor.html", "doctor.json"


def doctor(config: DoctorConfig) -> int:
    """Print the verdicts, write them to `config.out`, and return the exit status: 1 if there is a problem.

    Raises:
        UserError: the data or the model cannot be read, or do not fit each other, or `out` is a file.
    """
    if config.out is not None and config.out.exists() and not config.out.is_dir():
        raise UserError(f"{config.out}: is a file; choose a folder with --out")
    verdicts = diagnose(config)
    print(to_text(verdicts))
    counts = {
        status: sum(verdict.status == status for verdict in verdicts) for status in ("problem", "warning")
    }
    status = PROBLEM if counts["problem"] else HEALTHY
    if config.out is not None:
        model = None if config.model is None else str(config.model)
        with whole_file(config.out / PAGE) as temporary:
            temporary.write_text(to_html(verdicts, str(config.data), model), encoding="utf-8")
        rows = [dataclasses.asdict(verdict) for verdict in verdicts]
        write_json(config.out / VALUES, {"data": str(config.data), "model": model, "verdicts": rows})
        print(f"report: {config.out / PAGE}")
    print(", ".join(f"{number} {name}{'' if number == 1 else 's'}" for name, number in counts.items()))
    return status


def diagnose(config: DoctorConfig) -> list[Verdict]:
    """All verdicts; errors as for `doctor`."""
    store = open_data(config.data, config.workers)
    model = None if config.model is None else load_model(config.model, store, "test", config.device)
    with progress(what="doctor", unit="checks", total=2 * len(frames.STRIDES) + 3 + bool(model)) as bar:
        changed = frames.changes(store)
        compression = frames.compression(store, config.seed)
        verdicts = [frames.episodes(store), *frames.rate(changed), *compression]
        bar.update()
        steady, labelled = {}, {}
        for stride in frames.STRIDES:
            steady[stride] = frames.steadiness(store, stride, config.seed)
            bar.update()
            labelled[stride] = controls.labelled_motion(store, stride, config.seed)
            bar.update()
        damaged = any(verdict.status == "problem" for verdict in compression)
        interval = frames.interval_too_long(steady[1], damaged)
        obstacle = ""
        if interval.status == "problem":
            obstacle = "motion cannot be assigned to a control where frames are too far apart"
        elif frames.duplicate_share(changed) > frames.DUPLICATES.warning:
            obstacle = "a control can only be assigned to a frame without duplicates"
        aligned = controls.alignment(store, config.seed, obstacle)
        best = controls.best_stride(steady, labelled, aligned.status == "problem", config.seed)
        verdicts += [interval, best, aligned]
        bar.update()
        verdicts.append(controls.labels_needed(labelled[1], config.seed))
        bar.update()
        if model is not None:
            verdicts += model_verdicts(model, store, config.seed)
            bar.update()
    return verdicts
