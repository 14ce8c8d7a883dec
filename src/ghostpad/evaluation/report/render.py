"""Lays the measurements of one or more models out as one HTML file that loads nothing from the network.

Each section that needs more than `metrics.json` has a function. It returns plain values, pictures and plots,
or None where there is nothing to show; the report then leaves the section out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.config import Amounts
from ghostpad.evaluation.inference import decode, to_bytes
from ghostpad.evaluation.measurements import Measurements
from ghostpad.evaluation.reconstruction import psnr_db
from ghostpad.evaluation.report import figures
from ghostpad.evaluation.report.format import (
    count,
    element_metrics,
    interval,
    key_metrics,
    page_environment,
    player,
    quantity,
    show,
    transfer_key,
    words,
)
from ghostpad.evaluation.report.illustrations import (
    FILM_LENGTH,
    STRIP_LENGTH,
    choose_clip,
    choose_examples,
    galleries,
    transfers,
)
from ghostpad.evaluation.report.pictures import data_uri, error_map, film_uri, over_grid, to_rgb
from ghostpad.evaluation.report.summary import criteria, verdicts
from ghostpad.evaluation.report.tsne import codebook_map, transition_map
from ghostpad.evaluation.schema import get
from ghostpad.frames.pairs import current_frames

View = dict[str, Any]
_BARS_DB = {
    "reconstruction.gain_over_copy_db": "gain over\ncopying",
    "reconstruction.moving_gain_db": "gain, moving\npixels",
    "reconstruction.delta_psnr_db": "ΔPSNR",
}
_BARS_SHARES = {"codebook.active": "codes\nactive", "agreement.accuracy": "controls\nnamed"}
_FILM_MS = 100
"""How long the film shows a frame: slower than the game, so that errors can be seen."""


def comparison(assessments: Sequence[Assessment]) -> View | None:
    """Several models side by side."""
    if len(assessments) < 2:
        return None
    game = assessments[0].truth.game
    rows = [
        (f"elements.{name}.{key}", f"{words(name)}: {title}", unit)
        for name, titles in element_metrics(game).items()
        for key, (title, unit) in titles.items()
    ]
    if key := transfer_key(assessments[0].metrics):
        rows.append((key, f"codes move the {player(game)} the same way in other frames", "%"))
    shares = {key: label.replace(" ", "\n", 1) for key, label in key_metrics(game).values()} | _BARS_SHARES
    panels = []
    for unit, scale, bars in (("dB", 1, _BARS_DB), ("%", 100, shares)):
        heights = {
            item.name: [scale * (get(item.metrics, key) or 0.0) for key in bars] for item in assessments
        }
        panels.append(figures.Panel(unit, list(bars.values()), heights))
    plot = figures.grouped_bars(panels, "Models side by side")
    return {"models": assessments, "game_rows": rows, "plot": plot}


def examples(assessment: Assessment, chosen: np.ndarray) -> View:
    """Transitions with prediction, error and codes."""
    measured, happens = assessment.measurements, assessment.truth.events
    frames, next_frames = _read(assessment, chosen)
    predictions = predict(assessment, chosen)
    sums = measured.sums
    psnr, copy_psnr = (psnr_db(sums[key] / sums["pixels"]) for key in ("squared", "copy_squared"))
    pictures = zip(chosen, frames, next_frames, predictions, strict=True)
    items = [
        {
            "episode": _episode(measured, position),
            "index": int(measured.frame_index[position]),
            "events": [words(name) for name, column in happens.items() if column[position]],
            "score": f"PSNR {psnr[position]:.1f} dB, copying {copy_psnr[position]:.1f} dB",
            "frame": data_uri(frame),
            "next": data_uri(next_frame),
            "prediction": data_uri(prediction),
            "error": data_uri(error_map(prediction, next_frame)),
            "codes": measured.codes[position].tolist(),
        }
        for position, frame, next_frame, prediction in pictures
    ]
    flat = measured.codes.reshape(len(measured.codes), -1)
    most_frequent = np.array([np.bincount(cell).argmax() for cell in flat.T])
    return {
        "examples": items,
        "most_frequent": most_frequent.reshape(measured.codes.shape[1:]).tolist(),
    }


def elements(assessment: Assessment) -> View | None:
    """The elements of the game, as its detector finds them."""
    metrics = assessment.metrics
    groups = {
        name: [(key, *title_and_unit) for key, title_and_unit in titles.items()]
        for name, titles in element_metrics(assessment.truth.game).items()
        if get(metrics, f"elements.{name}.copy_{next(iter(titles))}") is not None
    }
    checked = [
        f"{words(key)} {quantity(value, '%')}"
        for key, value in metrics["detector"].items()
        if isinstance(value, float)
    ]
    return {"groups": groups, "checked": checked} if groups else None


def splits(assessment: Assessment) -> View:
    """Train, validation and test side by side."""
    found, shares = assessment.metrics["splits"], key_metrics(assessment.truth.game)
    units = {"psnr_db": "dB", "gain_over_copy_db": "dB", "moving_psnr_db": "dB"} | dict.fromkeys(shares, "%")
    rows = [
        [name, f"{split['num_transitions']:,}", *(show(split, key, unit) for key, unit in units.items())]
        for name, split in found.items()
    ]
    return {"rows": rows, "shares": [label for _, label in shares.values()]}


def codebook(assessment: Assessment) -> View:
    """How the codes are used."""
    metrics = assessment.metrics["codebook"]
    entropies = np.log2(np.array(metrics["cell_perplexities"]))
    frame = _read(assessment, np.array([0]))[0][0]
    return {
        "plot": figures.code_histogram(np.array(metrics["histogram"])),
        "entropy_map": over_grid(frame, entropies),
        "most_bits": float(entropies.max()),
    }


def events(assessment: Assessment) -> View | None:
    """How much the codes say about each event, which codes, and where in the frame."""
    found, columns = assessment.associations, assessment.truth.events
    titles = {name: words(name) for name in found}
    for group in assessment.truth.game.event_groups if assessment.truth.game else ():
        members = [words(name.removeprefix(f"{group}_")) for name in columns if name.startswith(f"{group}_")]
        titles[group] = f"{words(group)}: {' / '.join(members)}"
    rows = [{"title": titles[name], "association": item} for name, item in found.items()]
    maps = []
    for name, item in found.items():
        if name in columns:
            frame = _read(assessment, np.flatnonzero(columns[name])[:1])[0][0]
            maps.append({"title": titles[name], "picture": over_grid(frame, item.bits_hw), "bits": item.bits})
    return {"rows": rows, "maps": maps} if rows else None


def controls(assessment: Assessment) -> View | None:
    """How well the codes identify the controls."""
    probe = assessment.metrics["agreement"]
    if probe.get("accuracy") is None:
        return None
    plot = None
    if probe.get("label_budget"):
        levels = {"chance": probe["chance"], "all labels": probe["accuracy"]}
        levels["supervised ceiling"] = probe["ceiling"]
        plot = figures.budget_curve(probe["label_budget"], levels)
    return {"plot": plot}


def maps(assessment: Assessment, shown: list[View], num_transitions: int, seed: int) -> View | None:
    """Codes, coloured by the events in their `shown` galleries, and transitions in the plane, by t-SNE."""
    codes, plots = assessment.measurements.codes, View()
    columns = {words(name): column for name, column in assessment.truth.events.items()}
    styles = figures.event_styles(columns)
    if (code_map := codebook_map(assessment.model, codes, seed)) is not None:
        numbers, places = code_map
        counts = np.array(assessment.metrics["codebook"]["histogram"])[numbers]
        named = {item["code"]: words(item["event"]) for item in shown if item["event"]}
        plots["Codes by their embeddings"] = figures.code_map(numbers, places, counts, named, styles)
    if (transitions := transition_map(codes, num_transitions, seed)) is not None:
        rows, places = transitions
        groups = {name: column[rows] for name, column in columns.items() if column[rows].any()}
        # Rare events are drawn last, on top of frequent ones.
        groups = dict(sorted(groups.items(), key=lambda group: -group[1].sum()))
        groups = groups or {"transitions": np.ones(len(rows), bool)}
        plots["Transitions by their codes"] = figures.transition_scatter(places, groups, styles)
    return plots or None


def _read(assessment: Assessment, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames and next frames (n, C, H, W) uint8 at positions among the measured transitions."""
    measured = assessment.measurements
    gray = assessment.metrics["color"] == "gray"
    frames, next_frames = measured.transitions.read(measured.rows[positions], gray)
    return current_frames(frames), next_frames


def predict(assessment: Assessment, positions: np.ndarray) -> np.ndarray:
    """Predicted next frames (n, C, H, W) uint8 at positions among the measured transitions."""
    measured, gray = assessment.measurements, assessment.metrics["color"] == "gray"
    frames, _ = measured.transitions.read(measured.rows[positions], gray)
    return to_bytes(decode(assessment.model, frames, measured.codes[positions]))


def film(assessment: Assessment, seed: int) -> View | None:
    """True next frames beside the predicted ones: in motion, as a still picture, and as a strip of a few."""
    measured, happens = assessment.measurements, assessment.truth.events
    lengths = (FILM_LENGTH, STRIP_LENGTH)
    clips = (choose_clip(happens, measured.transitions, measured.rows, length, seed) for length in lengths)
    positions = next((clip for clip in clips if len(clip)), None)
    if positions is None:
        return None
    true, predicted = _read(assessment, positions)[1], predict(assessment, positions)
    gap = np.zeros((*true.shape[:3], max(2, true.shape[3] // 40)), np.uint8)
    both = np.concatenate([true, gap, predicted], 3)
    middle = slice((len(both) - STRIP_LENGTH) // 2, (len(both) + STRIP_LENGTH) // 2)
    return {
        "episode": _episode(measured, positions[0]),
        "moving": film_uri(np.stack([to_rgb(frame) for frame in both]), _FILM_MS),
        "still": both[len(both) // 2],
        "indices": (measured.frame_index[positions[middle]] + measured.transitions.stride).tolist(),
        "strip": {"true": true[middle], "predicted": predicted[middle]},
    }


def _episode(measured: Measurements, position: int) -> str:
    return measured.transitions.store.episodes[measured.episode_index[position]].name


def render(assessments: Sequence[Assessment], amounts: Amounts, seed: int) -> str:
    """The report on the first model, with illustrations drawn by the seed and the other models beside it."""
    first = assessments[0]
    shown = galleries(first, amounts.galleries)
    chosen = choose_examples(first.truth.events, len(first.measurements.rows), amounts.examples, seed)
    moved = transfers(first, seed) if len(chosen) else []
    # Keys are anchors and names of templates; a view of None leaves its section out.
    views = {
        "criteria": criteria(first.metrics, first.truth.game),
        "comparison": comparison(assessments),
        "examples": examples(first, chosen) if len(chosen) else None,
        "reconstruction": {},
        "elements": elements(first),
        "splits": splits(first),
        "codebook": codebook(first),
        "events": events(first),
        "codes": {"galleries": shown} if shown else None,
        "transfer": {"rows": moved} if moved else None,
        "controls": controls(first),
        "controllability": None if get(first.metrics, "controllability.accuracy") is None else {},
        "maps": maps(first, shown, amounts.tsne, seed) if amounts.tsne else None,
        "missing": {} if first.metrics["absent"] else None,
    }
    environment = page_environment()
    filters = (quantity, show, interval, count, words, data_uri)
    environment.filters |= {function.__name__: function for function in filters}
    return environment.get_template("report.html").render(
        name=first.name,
        metrics=first.metrics,
        player=player(first.truth.game),
        transfer_key=transfer_key(first.metrics),
        verdicts=verdicts(first.metrics, first.truth.game),
        film=film(first, seed) if len(chosen) else None,
        sections={anchor: view for anchor, view in views.items() if view is not None},
    )
