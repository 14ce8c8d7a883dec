"""The verb `controls`: fit the control map to few labelled transitions, and report on it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ghostpad.buttons.control_labels import read_labels
from ghostpad.buttons.control_map import CONTROLS_FILE, ControlMap, fit_control_map
from ghostpad.config import check_minimum
from ghostpad.errors import UserError
from ghostpad.evaluation.config import ControlsConfig
from ghostpad.evaluation.controls.ask import ask_for_labels
from ghostpad.evaluation.controls.buttons import ButtonSource, extracted_buttons, world_buttons
from ghostpad.evaluation.controls.study import Sample, mutual_information, study_controls
from ghostpad.evaluation.ground_truth import read_ground_truth
from ghostpad.evaluation.inference import draw_blocks
from ghostpad.evaluation.inverse_dynamics import supervised_ceilings
from ghostpad.evaluation.mutual_information import grouped
from ghostpad.frames.controls import control_classes, read_controls
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.games import recognize
from ghostpad.io import whole_file
from ghostpad.labels.folder import Labels
from ghostpad.machine import num_cores, resolve_device
from ghostpad.theme import NEUTRAL, PLOT_STYLE
from ghostpad.world.world_model import WorldModel

PICTURE = "controls.png"
_WIDTH = 24
_BLOCK = 16
"""Neighbours that are drawn together: enough for windows; few, as neighbours resemble each other."""


def map_controls(config: ControlsConfig) -> ControlMap | None:
    """Fit the map, report how good it is on test episodes, and write it where `ghostpad play` finds it.

    With `ask`, write a page that asks for labels instead, and return None.

    Raises:
        UserError: world, data or labels cannot be read, or do not fit.
    """
    check_minimum(config, {"labels": 1, "transitions": 1, "ask": 1})
    if config.buttons is not None:
        out = config.out or config.buttons
        labels = Labels.open(config.buttons)
        buttons = extracted_buttons(labels)
        place = config.data and open_data(config.data, config.workers).path
        store = labels.open_store(place, "--data STORE")
    else:
        world = WorldModel.from_pretrained(config.world, device=str(resolve_device(config.device)))
        out = config.out or (world.folder if Path(config.world).exists() else None)
        if out is None:
            raise UserError(f"{config.world} is part of the package; give a folder to write to with --out")
        buttons = world_buttons(world, config.workers or num_cores())
        store = open_data(config.data or Path("bulk_videos"), config.workers)
    if config.ask is not None:
        training = Transitions(store, "train", buttons.stride)
        known = read_labels(config.labels_file, store, buttons.stride) if config.labels_file else None
        ask_for_labels(buttons, training, known, config.transitions, config.ask, out, config.seed)
        return None
    control_map, report = fit_and_study(buttons, store, config)
    control_map.write(out, report)
    print_report(control_map, report)
    if "label_budget" in report:
        draw_curves(report, out / PICTURE)
        print(f"{out / PICTURE}: accuracy against the number of labels")
    print(f"{out / CONTROLS_FILE}: the map")
    return control_map


def fit_and_study(
    buttons: ButtonSource, store: FrameStore, config: ControlsConfig
) -> tuple[ControlMap, dict[str, Any]]:
    """The map, and a report: what each button does and, with labels, how well the map names the controls."""
    splits = [Transitions(store, split, buttons.stride) for split in ("train", "test")]
    names, labels = _labels(splits, config)
    if names and not (labels[0] >= 0).any():
        raise UserError(f"{store.path}: no label is in a training episode; label some of those")
    train, test = (_sample(buttons, *part, config) for part in zip(splits, labels, strict=True))
    if names is None:
        control_map = _map_of_effects(train)
    else:
        known = np.flatnonzero(train.controls >= 0)
        chosen = np.random.default_rng(config.seed).permutation(known)[: config.labels]
        control_map = fit_control_map(names, train.buttons[chosen], train.controls[chosen])
    report = _button_effects(train) | {"mutual_information_bits": mutual_information(test, config.seed)}
    if (test.controls >= 0).any():
        names = control_map.control_names
        directions, classes_C = control_classes(names)
        classes = np.where(labels[0] < 0, -1, classes_C[labels[0]])
        held_out = test.labelled(classes_C)
        ceilings = supervised_ceilings(
            splits[0], classes, held_out, len(directions), config.ceiling_seeds, config.seed
        )
        report |= study_controls(train, test, names, ceilings, config.seed)
    return control_map, report


def _labels(splits: list[Transitions], config: ControlsConfig) -> tuple[list[str] | None, list[np.ndarray]]:
    """Names of the controls, None without labels; and the controls of all transitions, -1 where unknown."""
    if config.labels_file is not None:
        file = read_labels(config.labels_file, splits[0].store, splits[0].stride)
        labels = [file.of(transitions) for transitions in splits]
        unused = len(file.numbers) - sum(int((part >= 0).sum()) for part in labels)
        if unused:
            print(f"{config.labels_file}: {unused} labels in validation episodes are not used")
        return file.names, labels
    read = [read_controls(part, np.arange(len(part)), directions=False) for part in splits]
    names = read[0][1] if read[0] else None
    pairs = zip(read, splits, strict=True)
    return names, [
        found[0] if found and found[1] == names else np.full(len(part), -1) for found, part in pairs
    ]


def _sample(
    source: ButtonSource, transitions: Transitions, controls: np.ndarray, config: ControlsConfig
) -> Sample:
    """Draw blocks of labelled transitions, or of any where none is labelled."""
    known = np.flatnonzero(controls >= 0)
    pool = known if len(known) else np.arange(len(transitions))
    rows = pool[draw_blocks(len(pool), config.transitions, config.seed, _BLOCK)]
    game = recognize(transitions.read(rows[:: max(1, len(rows) // 8)], grayscale=True)[0])
    buttons, codes = source.posteriors(transitions, rows), source.codes(transitions, rows)
    truth = read_ground_truth(transitions, rows, game)
    return Sample(transitions, rows, controls[rows], buttons, codes, truth)


def _map_of_effects(sample: Sample) -> ControlMap:
    """The map without labels: to what the controlled element does, or to numbers in an unknown game."""
    events = [name for name in sample.truth.events if name.startswith(f"{sample.controlled}_")]
    if not events:
        num = sample.buttons.shape[1]
        names, same = tuple(f"button {button}" for button in range(num)), np.eye(num).tolist()
        return ControlMap(names, tuple(map(tuple, same)), tuple(range(num)), 0)
    effects = grouped(sample.truth.events, str(sample.controlled)) - 1
    known, names = effects >= 0, [name.replace("_", " ") for name in events]
    return replace(fit_control_map(names, sample.buttons[known], effects[known]), num_labels=0)


def _button_effects(sample: Sample) -> dict[str, Any]:
    """How often each button is held, and how far the controlled element moves then (pixels, mean)."""
    usage, moved = sample.buttons.mean(0), sample.displacement
    means = [None] * len(usage)
    if moved is not None:
        means = (sample.buttons.T @ moved / np.maximum(sample.buttons.sum(0), 1e-9)).tolist()
    effects = [{"share": float(share), "displacement_px": px} for share, px in zip(usage, means, strict=True)]
    return {"controlled": sample.controlled, "buttons": effects}


def print_report(control_map: ControlMap, report: dict[str, Any]) -> None:
    """Print what each button does and, with labels of test episodes, how well buttons name the controls."""
    controls = "".join(f"{name:>14}" for name in control_map.control_names)
    print(f"button    used{report['controlled'] or '':>10}{controls}")
    rows = zip(report["buttons"], control_map.control_given_button, strict=True)
    for button, (effect, given) in enumerate(rows):
        moved = "" if effect["displacement_px"] is None else f"{effect['displacement_px']:+.1f} px"
        print(f"{button:6}{100 * effect['share']:6.0f} %{moved:>10}" + "".join(f"{p:14.2f}" for p in given))
    pairs = zip(control_map.control_names, control_map.button_for_control, strict=True)
    print("to play: " + ", ".join(f"{name} is button {button}" for name, button in pairs))
    for name, bits in report["mutual_information_bits"].items():
        print(f"mutual information with {name}: {bits['bits']:.3f} bits (shuffled {bits['shuffled']:.3f})")
    if "label_budget" not in report:
        print("no labels in test episodes, so the accuracy of the map is unknown")
        return
    curves = _curves(report)
    print(f"\nagreement with {', '.join(report['classes'])} on {report['num_test']} held-out transitions")
    print("  labels" + "".join(f"{name:>{_WIDTH}}" for name in curves))
    for budget in report["label_budget"]:
        print(f"{budget:>8}" + "".join(_cell(part["label_budget"].get(budget)) for part in curves.values()))
    for title, key in ((f"{report['num_train']:8}", "accuracy"), ("balanced", "balanced_accuracy")):
        print(title + "".join(f"{part[key]:{_WIDTH}.3f}" for part in curves.values()))
    for title, window in (("one transition", ""), ("with neighbours", "window_")):
        if f"{window}ceiling" in report:
            line = (
                f"chance {report[f'{window}chance']:.3f}, supervised ceiling {report[f'{window}ceiling']:.3f}"
            )
            if f"{window}branch_ceiling" in report:
                line += f", branch ceiling {report['branch_ceiling']:.3f}"
            share = report.get(f"{window}share_of_ceiling")
            print(f"{title}: {line}" + ("" if share is None else f", share of the ceiling {share:.0%}"))


def draw_curves(report: dict[str, Any], path: Path) -> None:
    """Draw accuracy against the number of labels, as a PNG."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    with matplotlib.rc_context(PLOT_STYLE):
        axes = figure.subplots()
    for name, part in _curves(report).items():
        points = [*part["label_budget"].values(), dict.fromkeys(("mean", "low", "high"), part["accuracy"])]
        budgets = [*map(int, part["label_budget"]), report["num_train"]]
        (line,) = axes.plot(budgets, [point["mean"] for point in points], marker="o", label=name)
        low, high = ([point[key] for point in points] for key in ("low", "high"))
        axes.fill_between(budgets, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    for key, name in (("chance",) * 2, ("ceiling",) * 2, ("window_ceiling", "ceiling with neighbours")):
        if key in report:
            axes.axhline(report[key], color=NEUTRAL, linestyle=":")
            axes.annotate(name, (8, report[key]), va="bottom", color=NEUTRAL, fontsize=8)
    axes.set(xlabel="labelled transitions", ylabel="accuracy on held-out episodes")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.legend()
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _curves(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is compared, by name, each with the same keys."""
    keys = ("label_budget", "accuracy", "balanced_accuracy")
    curves = {"button": {key: report[key] for key in keys}}
    if "window_accuracy" in report:
        curves["with the next button"] = {key: report[f"window_{key}"] for key in keys}
    return curves | {"linear probe on codes": report["codes"]}


def _cell(score: dict[str, float] | None) -> str:
    text = f"{score['mean']:.3f} ({score['low']:.2f} to {score['high']:.2f})" if score else ""
    return f"{text:>{_WIDTH}}"
