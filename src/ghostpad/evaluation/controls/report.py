"""The report of `ghostpad controls`: what the buttons do, and how many labels it takes to name controls."""

from pathlib import Path
from typing import Any

from ghostpad.buttons.control_map import ControlMap
from ghostpad.io import whole_file

_WIDTH = 24


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
            line = f"chance {report[f'{window}chance']:.3f}, ceiling {report[f'{window}ceiling']:.3f}"
            share = report.get(f"{window}share_of_ceiling")
            print(f"{title}: {line}" + ("" if share is None else f", share of the ceiling {share:.0%}"))


def draw_curves(report: dict[str, Any], path: Path) -> None:
    """Draw accuracy against the number of labels, as a PNG."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, part in _curves(report).items():
        points = [*part["label_budget"].values(), dict.fromkeys(("mean", "low", "high"), part["accuracy"])]
        budgets = [*map(int, part["label_budget"]), report["num_train"]]
        (line,) = axes.plot(budgets, [point["mean"] for point in points], "o-", label=name)
        low, high = ([point[key] for point in points] for key in ("low", "high"))
        axes.fill_between(budgets, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    for key, name in (("chance",) * 2, ("ceiling",) * 2, ("window_ceiling", "ceiling with neighbours")):
        if key in report:
            axes.axhline(report[key], color="gray", linestyle=":")
            axes.annotate(name, (8, report[key]), va="bottom", color="gray", fontsize=8)
    axes.set(xlabel="labelled transitions", ylabel="accuracy on held-out episodes")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.legend()
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


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
