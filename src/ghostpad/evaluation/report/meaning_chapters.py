"""The parts of the report that say what the codes mean."""

import itertools
from typing import Any

import numpy as np

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.events import Association
from ghostpad.evaluation.insight import GROUPS
from ghostpad.evaluation.report.figures import COPY, budget_curve, code_map, event_colors, scatter
from ghostpad.evaluation.report.page import DASH, Markup, number, percent, picture, section, strip, table, tag
from ghostpad.evaluation.report.pictures import data_uri, over_grid
from ghostpad.evaluation.schema import get

_GROUP_NAMES = {"paddle": "paddle: which way", "bounce": "bounce: on what", "brick": "brick: any event"}


def words(event: str) -> str:
    """An event's name for people."""
    return event.replace("_", " ")


def events(assessment: Assessment) -> Markup:
    """For each event how much the codes tell of it, which ones, and where."""
    found = assessment.insight.associations
    if not found:
        why = get(assessment.metrics, "absent").get("events", "nothing happens in these transitions")
        return section("events", "Codes and events", tag("p", f"Not measured: {why}."))
    lead = (
        "How much the code of one cell tells of an event: mutual information in bits, in the cell that tells "
        "most. Chance alone would give the bits in the next column; a pattern is clear above 95 % of "
        f"200 shuffles. Events are known from {get(assessment.metrics, 'events.source')}."
    )
    head = ["event", "times", "bits", "by chance", "clear", "codes that go with it most"]
    rows = [_event_row(name, association) for name, association in found.items()]
    single = {name: item for name, item in found.items() if name not in GROUPS}
    maps = strip(*(_heat_map(assessment, name, item) for name, item in single.items()))
    text = "Where the codes carry each event: the brighter a cell, the more its code tells."
    codes = table(head, rows, text=(5,))
    return section("events", "Codes and events", codes, tag("h3", text), maps, lead=lead)


def gallery(assessment: Assessment) -> Markup:
    """For each code the transitions where it fires most."""
    shown = assessment.galleries
    if not shown:
        return Markup("")
    used = sum(count > 0 for count in assessment.metrics["codebook"]["histogram"])
    rows = []
    for item in shown:
        row, column = item.place
        title = f"code {item.code}"
        facts = f"{item.choices} times, mostly at row {row}, column {column}"
        if item.event:
            facts += f"; {words(item.event)} {item.lift:.1f} times as likely"
        images = (
            Markup(f'<img src="{data_uri(pair)}" alt="frame and next frame" loading="lazy">')
            for pair in item.pictures
        )
        caption = tag("p", tag("strong", title), f": {facts}", class_="facts")
        rows.append(tag("div", caption, tag("div", *images, class_="pairs"), class_="code"))
    lead = (
        f"The {len(shown)} codes, of {used} in use, that tell most of an event. Each picture shows frame and "
        "next frame around the cell where the code fires; what changes is outlined."
    )
    few, rest = rows[:12], rows[12:]
    more = [tag("details", tag("summary", f"{len(rest)} more codes"), *rest)] if rest else []
    return section("codes", "What each code does", *few, *more, lead=lead)


def transfer(assessment: Assessment) -> Markup:
    """The codes of one transition, applied to other frames."""
    if not assessment.transfers:
        return Markup("")
    rows = []
    for item in assessment.transfers:
        cells = [
            picture(data_uri(item.giver), f"true: {words(item.event)}", "the transition that gives codes")
        ]
        cells += [
            picture(data_uri(drawn), "its codes here", "drawn from another frame") for drawn in item.receivers
        ]
        rows.append(strip(*cells))
    share, near = (get(assessment.metrics, f"transfer.paddle_direction{part}") for part in ("", "_near"))
    lead = (
        "Left, a true transition; beside it what its codes do to other frames. What changes is outlined. "
        f"Codes that move the paddle move it the same way elsewhere in {percent(share)} of the cases, and in "
        f"{percent(near)} when both paddles start within 8 pixels."
    )
    return section("transfer", "Codes applied elsewhere", *rows, lead=lead)


def maps(assessment: Assessment) -> Markup:
    """Codes and transitions in the plane."""
    parts: list[Any] = []
    colors = event_colors(assessment.scene.columns)
    if assessment.code_places is not None:
        codes, places = assessment.code_places
        counts = np.array(assessment.metrics["codebook"]["histogram"])[codes]
        events = {item.code: item.event for item in assessment.galleries if item.event}
        parts += [
            tag("h3", "Codes by their embeddings"),
            Markup(code_map(codes, places, counts, events, colors)),
        ]
    if assessment.transition_places is not None:
        rows, places = assessment.transition_places
        columns = {name: column[rows] for name, column in assessment.scene.columns.items()}
        rare = sorted(columns, key=lambda name: -columns[name].sum())
        groups = [("all", np.ones(len(rows), bool), COPY)] if not rare else []
        groups += [(words(name), columns[name], colors[name]) for name in rare if columns[name].any()]
        label = "t-SNE of transitions by their codes"
        parts += [
            tag("h3", "Transitions by their codes"),
            Markup(scatter("transitions", label, places, groups)),
        ]
    if not parts:
        return Markup("")
    lead = (
        "t-SNE: near means alike, far means little. Codes are larger the more they are used, and coloured by "
        "the event that they make likelier; the most used ones carry their number."
    )
    return section("maps", "Maps", *parts, lead=lead)


def agreement(metrics: dict[str, Any]) -> Markup:
    """What the codes tell of the controls."""
    numbers = metrics["agreement"]
    if numbers.get("accuracy") is None:
        why = get(metrics, "absent").get("agreement", "no transition has a recorded control")
        return section("agreement", "Agreement with the controls", tag("p", f"Not measured: {why}."))
    bounds = (metrics.get("intervals") or {}).get("agreement.accuracy")
    between = f" ({percent(bounds[0])} to {percent(bounds[1])})" if bounds else ""
    rows = [
        [
            "Named right by the probe",
            percent(numbers["accuracy"]) + between,
            percent(numbers.get("window_accuracy")),
        ],
        [
            "Mean over controls",
            percent(numbers["balanced_accuracy"]),
            percent(numbers.get("window_balanced_accuracy")),
        ],
        [
            "Chance: always the most frequent",
            percent(numbers["chance"]),
            percent(numbers.get("window_chance")),
        ],
        ["Shuffled codes", percent(numbers["shuffled"]), DASH],
        [
            "Ceiling: from the paddle's true displacement",
            percent(numbers.get("ceiling")),
            percent(numbers.get("window_ceiling")),
        ],
        [
            "Share of the ceiling",
            percent(numbers.get("share_of_ceiling")),
            percent(numbers.get("window_share_of_ceiling")),
        ],
    ]
    lead = (
        f"A linear probe from one-hot codes to {', '.join(numbers['classes'])}, fitted on "
        f"{numbers['num_train']} transitions of training episodes, scored on {numbers['num_test']} of this "
        "split. A share above 100 % means that the codes tell more than the displacement: they also know "
        f"where the paddle stands. The controls have {number(numbers['control_bits'], 2)} bits a "
        f"transition, the codes {number(get(metrics, 'codebook.bits_per_transition'), 1)}."
    )
    parts: list[Any] = [table(["", "this transition", "t-1 to t+2"], rows)]
    if numbers.get("label_budget"):
        curve = budget_curve(
            numbers["label_budget"], numbers["chance"], numbers["accuracy"], numbers.get("ceiling")
        )
        parts.append(Markup(curve))
    return section("agreement", "Agreement with the controls", *parts, lead=lead)


def _event_row(name: str, association: Association) -> list[Any]:
    best = itertools.islice(association.lifts, 3)
    codes = "; ".join(
        f"code {item.code} at ({item.row}, {item.column}): {item.lift:.1f} times as likely, in "
        f"{percent(item.caught, 0)} of them"
        for item in best
    )
    clear = tag("span", "yes" if association.clear else "no", class_="met" if association.clear else "unmet")
    title = _GROUP_NAMES.get(name, words(name))
    cells = [str(association.count), number(association.bits, 3), number(association.shuffled_bits, 3), clear]
    return [title, *cells, tag("span", codes or DASH, class_="faint")]


def _heat_map(assessment: Assessment, name: str, association: Association) -> Markup:
    measured = assessment.measured
    happens = np.flatnonzero(assessment.scene.columns[name])[:1]
    frame, _ = measured.transitions.read(measured.rows[happens], assessment.metrics["color"] == "gray")
    shown = over_grid(frame[0], association.bits_hw)
    caption = f"{words(name)}: at most {association.bits:.3f} bits"
    return picture(data_uri(shown), caption, f"where codes tell of {words(name)}")
