"""What the numbers mean in plain words: alarms, the summary, and the success criteria."""

from dataclasses import dataclass
from typing import Any, Literal

from ghostpad.evaluation.report.format import interval, key_metrics, player, quantity, show, transfer_key
from ghostpad.evaluation.schema import get
from ghostpad.evaluation.validation import IGNORED_DB, alarms
from ghostpad.games import Game

PSNR_CRITERION_DB = 28.0
USE_CRITERION = 0.5
SPLITS_CRITERION_DB = 1.0
LEAK_SHARE = 0.1
"""Share of another scene that codes may carry before the summary warns."""
TRANSFER_SHARE = 0.8
"""Share of frames in which codes that move the player's object should move it the same way."""


@dataclass(frozen=True)
class Verdict:
    """One sentence about the model."""

    tone: Literal["good", "bad", "plain"]
    text: str


@dataclass(frozen=True)
class Criterion:
    """A success criterion of the reference specification, with a stricter reading of the same data."""

    name: str
    measured: str
    met: bool | None
    """None where it could not be judged."""
    stricter: str


def verdicts(metrics: dict[str, Any], game: Game | None) -> list[Verdict]:
    """The summary at the top of the report."""
    found: list[Verdict | None] = [Verdict("bad", f"Alarm: {line}.") for line in alarms(metrics)]
    gain = get(metrics, "reconstruction.gain_over_copy_db")
    if gain is not None:
        levels = ((6, "far better than"), (1, "better than"), (0, "barely better than"))
        compared = next((text for level, text in levels if gain > level), "no better than")
        psnr, copy = (show(metrics, f"reconstruction.{key}psnr_db", "dB", 1) for key in ("", "copy_"))
        text = f"The predictions are {compared} copying the current frame: {psnr} against {copy}."
        found.append(Verdict("good" if gain >= 3 else "bad", text))
    found += [_element(metrics, key, label) for key, label in key_metrics(game).values()]
    delta = get(metrics, "reconstruction.delta_psnr_db")
    if delta is not None and delta >= IGNORED_DB:
        text = f"The codes matter: the codes of another transition cost {quantity(delta, 'dB', 1)}."
        found.append(Verdict("good" if delta >= 3 else "plain", text))
    leak = get(metrics, "reconstruction.leak_share")
    if leak is not None and leak >= LEAK_SHARE:
        text = f"The codes also carry static content: {quantity(leak, '%', 0)} of it appears in other scenes."
        found.append(Verdict("bad", text))
    found.append(_transfer(metrics, game))
    active = get(metrics, "codebook.active")
    if active is not None:
        used = show(metrics, "codebook.usage", "%", 0)
        text = f"{used} of the codes are used, {quantity(active, '%', 0)} actively."
        found.append(Verdict("good" if active >= USE_CRITERION else "bad", text))
    return [verdict for verdict in found if verdict is not None]


def criteria(metrics: dict[str, Any], game: Game | None) -> list[Criterion]:
    """The success criteria, each with its number."""
    psnr, active = get(metrics, "reconstruction.psnr_db"), get(metrics, "codebook.active")
    color = "RGB" if metrics["color"] == "rgb" else "grayscale"
    shown = [f"{label} {show(metrics, key, '%')}" for key, label in key_metrics(game).values()]
    return [
        Criterion(
            "Reconstruction PSNR above 28 dB",
            f"{quantity(psnr, 'dB', 1)} ({color} frames)",
            None if psnr is None else psnr >= PSNR_CRITERION_DB,
            f"copying reaches {show(metrics, 'reconstruction.copy_psnr_db', 'dB', 1)}; gain "
            f"{show(metrics, 'reconstruction.gain_over_copy_db', 'dB', 1)}, on moving pixels "
            f"{show(metrics, 'reconstruction.moving_gain_db', 'dB', 1)}",
        ),
        Criterion(
            "At least 50 % of the codebook actively used",
            quantity(active, "%"),
            None if active is None else active >= USE_CRITERION,
            f"among the cells that change: {show(metrics, 'codebook.active_changing', '%')}; chosen at least "
            f"once: {show(metrics, 'codebook.usage', '%')}; perplexity "
            f"{show(metrics, 'codebook.perplexity', '', 1)} of {get(metrics, 'codebook.size')} codes",
        ),
        Criterion(
            "Visually plausible next frames",
            f"SSIM {show(metrics, 'reconstruction.ssim')}",
            _plausible(metrics),
            "; ".join([f"copying: SSIM {show(metrics, 'reconstruction.copy_ssim')}", *shown]),
        ),
        _patterns(metrics, game),
        _consistent(metrics),
    ]


def _plausible(metrics: dict[str, Any]) -> bool | None:
    """Closer to the true frame than the current frame is, and every element visible in 90 %."""
    ssim, copy = get(metrics, "reconstruction.ssim"), get(metrics, "reconstruction.copy_ssim")
    if ssim is None or copy is None:
        return None
    elements = (metrics.get("elements") or {}).values()
    detected = [element.get("detected") for element in elements if element]
    return ssim > copy and all(share is None or share >= 0.9 for share in detected)


def _patterns(metrics: dict[str, Any], game: Game | None) -> Criterion:
    """For every group of events, mutual information above the 95th percentile of shuffled events."""
    clear = {name: get(metrics, f"events.clear.{name}") for name in (game.event_groups if game else ())}
    known = {name: value for name, value in clear.items() if value is not None}
    bits = [f"{name} {show(metrics, f'events.mutual_information_bits.{name}', 'bits')}" for name in known]
    probe = f"controls named correctly: {show(metrics, 'agreement.accuracy', '%')}"
    if get(metrics, "agreement.share_of_ceiling") is not None:
        probe += f", {show(metrics, 'agreement.share_of_ceiling', '%')} of the ceiling"
    return Criterion(
        "Clear patterns in the codes for similar transitions",
        f"clear for {sum(known.values())} of {len(known)} groups of events" if known else "no events known",
        all(known.values()) if known else None,
        "; ".join([*([f"most informative cell: {', '.join(bits)}"] if bits else []), probe]),
    )


def _consistent(metrics: dict[str, Any]) -> Criterion:
    """The gain over copy of train, validation and test within 1 dB; PSNR also varies with how much moves."""
    splits = metrics.get("splits") or {}
    gains = [
        split["gain_over_copy_db"] for split in splits.values() if split["gain_over_copy_db"] is not None
    ]
    spread = max(gains) - min(gains) if len(gains) == 3 else None
    lines = [
        f"{name} {quantity(split['gain_over_copy_db'], 'dB')} "
        f"({interval(metrics, f'splits.{name}.gain_over_copy_db')}; PSNR {quantity(split['psnr_db'], 'dB')})"
        for name, split in splits.items()
    ]
    return Criterion(
        "Train, validation and test consistent",
        f"gain over copying within {quantity(spread, 'dB')}",
        None if spread is None else spread <= SPLITS_CRITERION_DB,
        "; ".join(lines),
    )


def _element(metrics: dict[str, Any], key: str, label: str) -> Verdict | None:
    """Good when at least 90 % are correct and copying errs at least twice as often."""
    group, _, name = key.rpartition(".")
    value, copy = get(metrics, key), get(metrics, f"{group}.copy_{name}")
    if value is None or copy is None:
        return None
    tone = "good" if value >= 0.9 and 1 - value <= (1 - copy) / 2 else "plain"
    text = f"{label.capitalize()}: {quantity(value, '%')} (copying: {quantity(copy, '%')})."
    return Verdict("bad" if value < max(copy, 0.6) else tone, text)


def _transfer(metrics: dict[str, Any], game: Game | None) -> Verdict | None:
    key = transfer_key(metrics)
    if key is None:
        return None
    share, near = get(metrics, key), get(metrics, f"{key}_near")
    others = f"{quantity(share, '%', 0)} of other frames"
    text = f"Codes that move the {player(game)} move it the same way in {others}"
    if near is not None and near > share:
        text += f" ({quantity(near, '%', 0)} from nearly the same position)"
    return Verdict("good" if share >= TRANSFER_SHARE else "bad" if share < 0.6 else "plain", f"{text}.")
