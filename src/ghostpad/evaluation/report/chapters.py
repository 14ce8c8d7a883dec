"""The parts of the report, each made of numbers and pictures that were measured before."""

from typing import Any

import numpy as np

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.report.figures import code_histogram
from ghostpad.evaluation.report.page import (
    DASH,
    Markup,
    html,
    number,
    percent,
    picture,
    section,
    strip,
    table,
    tag,
)
from ghostpad.evaluation.report.pictures import data_uri, over_grid
from ghostpad.evaluation.report.summary import criteria, verdicts
from ghostpad.evaluation.schema import get


def opening(assessment: Assessment) -> Markup:
    """Title, what was evaluated, and the summary."""
    metrics = assessment.metrics
    held_out = "" if metrics["split"] == "train" else "held-out "
    color = "RGB" if metrics["color"] == "rgb" else "gray"
    facts = (
        f"{metrics['num_transitions']} transitions from {metrics['num_episodes']} {held_out}"
        f"{metrics['split']} episodes, {color} frames of {metrics['width']} by "
        f"{metrics['height']} pixels. Game recognized: {metrics['game'] or 'none'}."
    )
    items = [tag("li", verdict.text, class_=verdict.tone) for verdict in verdicts(metrics)]
    return tag(
        "header",
        tag("h1", f"Latent actions: {assessment.name}"),
        tag("p", facts, class_="facts"),
        tag("ul", *items, class_="verdict"),
    )


def success(metrics: dict[str, Any]) -> Markup:
    """The text's success criteria."""
    rows = []
    for criterion in criteria(metrics):
        word, look = {True: ("met", "met"), False: ("not met", "unmet"), None: ("not judged", "faint")}[
            criterion.met
        ]
        rows.append([criterion.name, tag("span", word, class_=look), criterion.found, criterion.harder])
    lead = "Each criterion as it was set, and beside it the harder reading: what a good number may hide."
    return section(
        "criteria",
        "Success criteria",
        table(["criterion", "", "found", "harder reading"], rows, text=(1, 2, 3)),
        lead=lead,
    )


def quality(metrics: dict[str, Any]) -> Markup:
    """Reconstruction beside copying."""
    rows = [
        _pair(metrics, "reconstruction", key, title, show)
        for key, title, show in (
            ("psnr_db", "PSNR (dB), MSE pooled", _two),
            ("psnr_mean_db", "PSNR (dB), mean over transitions", _two),
            ("moving_psnr_db", "PSNR where something moves (dB)", _two),
            ("ssim", "SSIM", _four),
            ("l1", "L1", _six),
            ("l2", "L2 (MSE)", _six),
        )
    ]
    used = [
        ["Gain over copying", number(get(metrics, "reconstruction.gain_over_copy_db"), 2, "dB")],
        [
            "ΔPSNR: lost with the codes of others",
            number(get(metrics, "reconstruction.delta_psnr_db"), 2, "dB"),
        ],
        ["Leak: what comes along of another scene", percent(get(metrics, "reconstruction.leak_share"), 2)],
    ]
    lead = "Copying predicts that nothing changes. In a game where little moves, that alone scores high."
    head = ["", "model", "95 % interval", "copying"]
    return section("quality", "Reconstruction", table(head, rows), table(["", ""], used), lead=lead)


def elements(metrics: dict[str, Any]) -> Markup:
    """Ball, paddle and bricks, or why they are not there."""
    if not metrics.get("game"):
        why = get(metrics, "absent")["elements"]
        return section("elements", "Game elements", tag("p", f"Not measured: {why}."))
    rows = []
    for part in metrics["elements"]:
        keys = _ELEMENT_ROWS.get(part, _ELEMENT_ROWS["paddle"])
        if get(metrics, f"elements.{part}.copy_{next(iter(keys))}") is not None:
            rows += [
                _pair(metrics, f"elements.{part}", key, f"{part}: {title}", show)
                for key, (title, show) in keys.items()
            ]
    lead = (
        "Found by one detector in true and predicted pictures alike; shares of the transitions that show it. "
        + _detector_words(metrics["detector"])
    )
    return section(
        "elements", "Game elements", table(["", "model", "95 % interval", "copying"], rows), lead=lead
    )


def codebook(assessment: Assessment) -> Markup:
    """How the codes are used."""
    numbers = assessment.metrics["codebook"]
    rows = [
        ["Codes", str(numbers["size"])],
        ["Grid", f"{numbers['grid'][0]} rows, {numbers['grid'][1]} columns"],
        ["In use at all", percent(numbers["usage"])],
        ["Actively used (at least 1/(10·K) of all choices)", percent(numbers["active"])],
        ["Perplexity, all cells together", number(numbers["perplexity"], 1)],
        ["Perplexity, mean over cells", number(numbers["cell_perplexity"], 1)],
        ["Bits per transition", number(numbers["bits_per_transition"], 1)],
        ["Bits of the controls", number(get(assessment.metrics, "agreement.control_bits"), 2)],
    ]
    plot = Markup(code_histogram(np.array(numbers["histogram"])))
    measured = assessment.measured
    frame, _ = measured.transitions.read(measured.rows[:1], assessment.metrics["color"] == "gray")
    shares = np.log(np.array(numbers["cell_perplexities"]))
    most = number(shares.max() / np.log(2), 1)
    caption = f"Where the codes vary: entropy of each cell's choices, {most} bits in the brightest."
    where = strip(picture(data_uri(over_grid(frame[0], shares)), caption, "entropy of the codes by cell"))
    return section("codebook", "Codebook", table(["", ""], rows), plot, where)


def splits(metrics: dict[str, Any]) -> Markup:
    """Train, validation and test side by side."""
    rows = [
        [
            name,
            str(numbers["num_transitions"]),
            *(_two(numbers.get(key)) for key in ("psnr_db", "gain_over_copy_db", "moving_psnr_db")),
            *(percent(numbers.get(key)) for key in ("ball_within_2px", "paddle_within_2px")),
            percent(numbers.get("state_accuracy"), 3),
        ]
        for name, numbers in metrics["splits"].items()
    ]
    head = ["", "transitions", "PSNR (dB)", "gain (dB)", "moving PSNR (dB)", "ball", "paddle", "bricks"]
    lead = "Overfitting would show as training far above the others. Ball and paddle: within 2 pixels."
    return section("splits", "Train, validation, test", table(head, rows), lead=lead)


def missing(metrics: dict[str, Any]) -> Markup:
    """What could not be had, and why."""
    rows = [[key, why] for key, why in metrics["absent"].items()]
    if not rows:
        return Markup("")
    return section("absent", "What is not here", table(["key", "why"], rows, text=(1,)))


def _detector_words(numbers: dict[str, Any]) -> str:
    """How far the detector itself can be trusted."""
    if numbers.get("num_frames") is None:
        return "Nobody recorded the truth of these frames, so the detector could not be checked on them."
    named = (("ball", "ball_within_1px"), ("paddle", "paddle_within_1px"), ("brick states", "brick_states"))
    parts = [f"{name} {percent(numbers[key], 2)}" for name, key in named if numbers.get(key) is not None]
    return (
        f"The detector itself, held against the emulator's memory on {numbers['num_frames']} true frames: "
        f"{', '.join(parts)} right (ball and paddle within 1 pixel)."
    )


def _pair(metrics: dict[str, Any], group: str, key: str, title: str, show: Any) -> list[Any]:
    bounds = (metrics.get("intervals") or {}).get(f"{group}.{key}")
    between = f"{show(bounds[0])} to {show(bounds[1])}" if bounds and None not in bounds else DASH
    twin = get(metrics, f"{group}.copy_{key}")
    return [
        html(title),
        show(get(metrics, f"{group}.{key}")),
        tag("span", between, class_="faint"),
        show(twin),
    ]


def _two(value: float | None) -> str:
    return number(value, 2)


def _four(value: float | None) -> str:
    return number(value, 4)


def _six(value: float | None) -> str:
    return number(value, 6)


_ELEMENT_ROWS: dict[str, dict[str, tuple[str, Any]]] = {
    "ball": {
        "detected": ("seen", percent),
        "within_1px": ("within 1 pixel", percent),
        "within_2px": ("within 2 pixels", percent),
        "median_px": ("median distance where seen (px)", _two),
        "p95_px": ("95th percentile (px)", _two),
        "vx_sign": ("goes the right way in x", percent),
        "vy_sign": ("goes the right way in y", percent),
        "false_share": ("one too many", percent),
    },
    "paddle": {
        "within_1px": ("within 1 pixel", percent),
        "within_2px": ("within 2 pixels", percent),
        "median_px": ("median distance (px)", _two),
        "p95_px": ("95th percentile (px)", _two),
        "iou": ("IoU", percent),
    },
    "bricks": {
        "state_accuracy": ("states right", lambda value: percent(value, 3)),
        "vanish_precision": ("precision of vanishing", percent),
        "vanish_recall": ("recall of vanishing", percent),
        "back_share": ("one comes back", percent),
    },
}
