"""The parts of the report, each made of numbers and pictures that were measured before."""

from typing import Any

import numpy as np

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.figures import code_histogram
from ghostpad.evaluation.page import (
    DASH,
    Markup,
    data,
    html,
    number,
    percent,
    picture,
    section,
    strip,
    table,
    tag,
)
from ghostpad.evaluation.pictures import data_uri, error_map
from ghostpad.evaluation.reconstruction import psnr_db
from ghostpad.evaluation.schema import get
from ghostpad.evaluation.summary import criteria, verdicts

_NUM_STRIPS = 4
"""Transitions that are shown without the interactive view too."""


def opening(assessment: Assessment) -> Markup:
    """Title, what was evaluated, and the summary."""
    metrics = assessment.metrics
    facts = (
        f"{metrics['num_transitions']} transitions from {metrics['num_episodes']} held-out "
        f"{metrics['split']} episodes, {metrics['color']} frames of {metrics['width']} by "
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
        rows.append([criterion.name, criterion.found, tag("span", word, class_=look), criterion.harder])
    lead = "Each criterion as it was set, and beside it the harder reading: what a good number may hide."
    return section(
        "criteria", "Success criteria", table(["criterion", "found", "", "harder reading"], rows), lead=lead
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
    for part, keys in _ELEMENT_ROWS.items():
        if get(metrics, f"elements.{part}.copy_{next(iter(keys))}") is not None:
            rows += [
                _pair(metrics, f"elements.{part}", key, f"{part}: {title}", show)
                for key, (title, show) in keys.items()
            ]
    lead = (
        "Found by one detector in true and predicted pictures alike; shares of the transitions that show it."
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
    ]
    plot = Markup(code_histogram(np.array(numbers["histogram"])))
    return section("codebook", "Codebook", table(["", ""], rows), plot)


def looks(assessment: Assessment) -> Markup:
    """Pictures: some as strips, all of the examples in the interactive view."""
    items = _examples(assessment)
    parts = ("frame", "next", "prediction", "error")
    titles = ("frame", "next frame", "prediction", "error")
    strips = [
        strip(
            *(
                picture(
                    item[part],
                    title if part != "frame" else f"{item['episode']}, frame {item['index']}",
                    title,
                )
                for part, title in zip(parts, titles, strict=True)
            )
        )
        for item in items[:_NUM_STRIPS]
    ]
    lead = (
        "Frame, true next frame, what the model draws from the frame and the codes, and where it is wrong "
        "(black: right; brighter: more wrong). Codes unlike the usual one of their cell are coloured."
    )
    rest = tag("details", tag("summary", "Some as strips"), *strips, open="open")
    return section("look", "Pictures", _viewer(), data("transitions", items), rest, lead=lead)


def missing(metrics: dict[str, Any]) -> Markup:
    """What could not be had, and why."""
    rows = [[key, why] for key, why in metrics["absent"].items()]
    if not rows:
        return Markup("")
    return section("absent", "What is not here", table(["key", "why"], rows))


def _examples(assessment: Assessment) -> list[dict[str, Any]]:
    measured, transitions = assessment.measured, assessment.measured.transitions
    chosen = assessment.examples
    gray = assessment.metrics["color"] == "gray"
    frames, next_frames = transitions.read(measured.rows[chosen], gray)
    usual = _usual(measured.codes)
    scores = psnr_db(measured.sums["squared"] / measured.sums["pixels"])
    copies = psnr_db(measured.sums["copy_squared"] / measured.sums["pixels"])
    items = []
    for place, position in enumerate(chosen):
        episode = transitions.store.episodes[measured.episode_index[position]]
        drawn = measured.predictions[place]
        items.append(
            {
                "episode": episode.name,
                "index": int(measured.frame_index[position]),
                "events": [],
                "score": f"{scores[position]:.1f} dB, copying {copies[position]:.1f} dB",
                "frame": data_uri(frames[place]),
                "next": data_uri(next_frames[place]),
                "prediction": data_uri(drawn),
                "error": data_uri(error_map(drawn, next_frames[place])),
                "codes": measured.codes[position].tolist(),
                "usual": usual.tolist(),
            }
        )
    return items


def _usual(codes_Thw: np.ndarray) -> np.ndarray:
    """(h, w): the code that each cell shows most often."""
    flat = codes_Thw.reshape(len(codes_Thw), -1)
    most = [np.bincount(cell).argmax() for cell in flat.T]
    return np.array(most).reshape(codes_Thw.shape[1:])


def _viewer() -> Markup:
    names = (("frame", "frame"), ("next", "next frame"), ("prediction", "prediction"), ("error", "error"))
    images = "".join(
        f'<figure><img data-part="{part}" alt="{title}"><figcaption>{title}</figcaption></figure>'
        for part, title in names
    )
    return Markup(
        '<div id="viewer" hidden><div class="controls">'
        '<button data-part="before" aria-label="previous">&larr;</button>'
        '<input type="range" min="0" value="0" data-part="slider" aria-label="transition">'
        '<button data-part="after" aria-label="next">&rarr;</button>'
        '<select data-part="filter" aria-label="event"><option value="">any event</option></select></div>'
        f'<div class="five">{images}<figure><div class="codes" data-part="codes"></div>'
        "<figcaption>codes</figcaption></figure></div>"
        '<p class="facts"><span data-part="where"></span> &middot; <span data-part="score"></span></p></div>'
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
