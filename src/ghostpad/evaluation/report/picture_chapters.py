"""The part of the report that shows transitions: frames, predictions, errors and codes.

Dimensions: T transitions, h w grid of codes.
"""

from typing import Any

import numpy as np

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.reconstruction import psnr_db
from ghostpad.evaluation.report.meaning_chapters import words
from ghostpad.evaluation.report.page import Markup, data, picture, section, strip, tag
from ghostpad.evaluation.report.pictures import data_uri, error_map

_NUM_STRIPS = 4
"""Transitions that are shown without the interactive view too."""


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
    return section(
        "look", "Pictures", _viewer(), data("transitions", items), *_film(assessment), rest, lead=lead
    )


def _film(assessment: Assessment) -> list[Markup]:
    """Neighbouring transitions: what truly comes next, and below it what is drawn."""
    measured, positions = assessment.measured, assessment.film
    if not len(positions):
        return []
    gray = assessment.metrics["color"] == "gray"
    _, next_frames = measured.transitions.read(measured.rows[positions], gray)
    rows = []
    for title, frames in (("true", next_frames), ("drawn", measured.predicted(positions))):
        indices = measured.frame_index[positions] + measured.transitions.stride
        cells = (
            picture(data_uri(frame), f"{title}, {index}", f"{title} frame {index}")
            for frame, index in zip(frames, indices, strict=True)
        )
        rows.append(tag("div", *cells, class_="film"))
    episode = measured.transitions.store.episodes[measured.episode_index[positions[0]]].name
    return [tag("h3", f"A film strip: {episode}, each frame drawn from the true one before"), *rows]


def _examples(assessment: Assessment) -> list[dict[str, Any]]:
    measured, transitions = assessment.measured, assessment.measured.transitions
    chosen = assessment.examples
    gray = assessment.metrics["color"] == "gray"
    frames, next_frames = transitions.read(measured.rows[chosen], gray)
    predictions = measured.predicted(chosen)
    usual = _usual(measured.codes)
    scores = psnr_db(measured.sums["squared"] / measured.sums["pixels"])
    copies = psnr_db(measured.sums["copy_squared"] / measured.sums["pixels"])
    items = []
    for place, position in enumerate(chosen):
        episode = transitions.store.episodes[measured.episode_index[position]]
        drawn = predictions[place]
        items.append(
            {
                "episode": episode.name,
                "index": int(measured.frame_index[position]),
                "events": [
                    words(name) for name, column in assessment.scene.columns.items() if column[position]
                ],
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
