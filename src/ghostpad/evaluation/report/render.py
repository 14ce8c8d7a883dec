"""Lays the measurements of one or more models out as one HTML file that loads nothing from the network."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.report import game_view, sections
from ghostpad.evaluation.report.format import count, interval, quantity, show, words
from ghostpad.evaluation.report.illustrations import Illustrations
from ghostpad.evaluation.report.pictures import data_uri
from ghostpad.evaluation.report.summary import criteria, verdicts


def render(assessments: Sequence[Assessment], illustrations: Illustrations) -> str:
    """The report on the first model, with its illustrations and the other models beside it."""
    first = assessments[0]
    events = {item.code: words(item.event) for item in illustrations.galleries if item.event}
    # Keys are anchors and names of templates; a view of None leaves its section out.
    views = {
        "criteria": criteria(first.metrics, first.truth.game),
        "comparison": sections.comparison(assessments),
        "examples": sections.examples(first, illustrations.examples, illustrations.clip),
        "reconstruction": {},
        "elements": sections.elements(first),
        "splits": sections.splits(first),
        "codebook": sections.codebook(first),
        "events": sections.events(first),
        "codes": {"galleries": illustrations.galleries} if illustrations.galleries else None,
        "transfer": {"rows": illustrations.transfers} if illustrations.transfers else None,
        "controls": sections.controls(first),
        "maps": sections.maps(first, illustrations.code_map, illustrations.transition_map, events),
        "missing": {} if first.metrics["absent"] else None,
    }
    environment = Environment(
        loader=PackageLoader("ghostpad.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    filters = (quantity, show, interval, count, words, data_uri)
    environment.filters |= {function.__name__: function for function in filters}
    return environment.get_template("report.html").render(
        name=first.name,
        metrics=first.metrics,
        player=game_view.player(first.truth.game),
        transfer_key=game_view.transfer_key(first.metrics),
        verdicts=verdicts(first.metrics, first.truth.game),
        sections={anchor: view for anchor, view in views.items() if view is not None},
    )
