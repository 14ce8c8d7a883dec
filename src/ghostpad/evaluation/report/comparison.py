"""The part of the report that puts several models side by side."""

from typing import Any

from ghostpad.evaluation.assess import Assessment
from ghostpad.evaluation.report.figures import grouped_bars
from ghostpad.evaluation.report.page import Markup, number, percent, section, table
from ghostpad.evaluation.schema import get


def _two(value: float | None) -> str:
    return number(value, 2)


COMPARED: dict[str, tuple[str, Any]] = {
    "reconstruction.psnr_db": ("PSNR (dB)", _two),
    "reconstruction.gain_over_copy_db": ("gain over copying (dB)", _two),
    "reconstruction.moving_psnr_db": ("PSNR where something moves (dB)", _two),
    "reconstruction.ssim": ("SSIM", lambda value: number(value, 4)),
    "reconstruction.delta_psnr_db": ("ΔPSNR (dB)", _two),
    "reconstruction.leak_share": ("leak", percent),
    "elements.ball.within_2px": ("ball within 2 pixels", percent),
    "elements.ball.false_share": ("one ball too many", percent),
    "elements.paddle.within_2px": ("paddle within 2 pixels", percent),
    "elements.bricks.vanish_recall": ("bricks that are hit vanish", percent),
    "elements.bricks.back_share": ("a brick comes back", percent),
    "codebook.size": ("codes", str),
    "codebook.usage": ("codes in use", percent),
    "codebook.active": ("codes actively used", percent),
    "codebook.bits_per_transition": ("bits per transition", _two),
    "events.mutual_information_bits.paddle": ("bits about the paddle, best cell", _two),
    "transfer.paddle_direction": ("paddle codes work elsewhere", percent),
    "agreement.accuracy": ("controls named right", percent),
    "agreement.share_of_ceiling": ("share of the ceiling", percent),
}
_PLOTTED_DB = {
    "reconstruction.gain_over_copy_db": "gain",
    "reconstruction.moving_gain_db": "gain,\nmoving",
    "reconstruction.delta_psnr_db": "ΔPSNR",
}
_PLOTTED_SHARES = {
    "elements.ball.within_2px": "ball",
    "elements.paddle.within_2px": "paddle",
    "elements.bricks.vanish_recall": "bricks\nvanish",
    "codebook.active": "codes\nactive",
    "agreement.accuracy": "controls",
    "transfer.paddle_direction": "transfer",
}


def comparison(assessments: list[Assessment]) -> Markup:
    """Several models side by side; nothing when there is only one."""
    if len(assessments) < 2:
        return Markup("")
    rows = [
        [title, *(show(get(assessment.metrics, key)) for assessment in assessments)]
        for key, (title, show) in COMPARED.items()
    ]
    series: list[dict[str, list[float | None]]] = [{}, {}]
    for assessment in assessments:
        for panel, keys, scale in zip(series, (_PLOTTED_DB, _PLOTTED_SHARES), (1, 100), strict=True):
            values = (get(assessment.metrics, key) for key in keys)
            panel[assessment.name] = [None if value is None else scale * value for value in values]
    panels = [
        ("dB", list(_PLOTTED_DB.values()), series[0]),
        ("%", list(_PLOTTED_SHARES.values()), series[1]),
    ]
    plot = Markup(grouped_bars("comparison", "Models side by side", panels))
    names = [assessment.name for assessment in assessments]
    lead = "The same transitions, the same seed. The rest of this page is about the first."
    return section("compare", "Side by side", table(["", *names], rows), plot, lead=lead)
