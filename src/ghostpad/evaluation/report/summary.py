"""What the numbers say in plain words, and the text's success criteria; all of it computed."""

from dataclasses import dataclass
from typing import Any, Literal

from ghostpad.evaluation.report.page import number, percent
from ghostpad.evaluation.schema import get

PSNR_CRITERION_DB = 28.0
USE_CRITERION = 0.5
SPLITS_CRITERION_DB = 1.0
IGNORED_DB = 0.5
"""ΔPSNR below which the decoder is said to ignore the codes."""
LEAK_SHARE = 0.1
"""Share of another scene from which on the codes are said to carry what stands still."""
TRANSFER_SHARE = 0.8
"""Share of transitions in which the codes that move the paddle should move it the same way elsewhere."""
COLLAPSED_USAGE = 0.05
"""Share of codes in use below which the codebook is said to have collapsed."""


@dataclass(frozen=True)
class Verdict:
    """One sentence about the model."""

    tone: Literal["good", "bad", "plain"]
    text: str


@dataclass(frozen=True)
class Criterion:
    """One success criterion of the text, with the harder reading beside it."""

    name: str
    found: str
    met: bool | None
    """None where it could not be judged."""
    harder: str


def alarms(metrics: dict[str, Any]) -> list[str]:
    """What makes every other number meaningless, one line each; empty when all is well."""
    lines = []
    delta = get(metrics, "reconstruction.delta_psnr_db")
    if delta is not None and delta < IGNORED_DB:
        lines.append(f"the decoder ignores the codes: wrong codes cost {delta:.2f} dB only (ΔPSNR)")
    usage, size = get(metrics, "codebook.usage"), get(metrics, "codebook.size")
    if usage is not None and usage * size <= max(2, COLLAPSED_USAGE * size):
        lines.append(f"the codebook has collapsed: {round(usage * size)} of {size} codes are in use")
    return lines


def verdicts(metrics: dict[str, Any]) -> list[Verdict]:
    """The few sentences at the top of the report."""
    found = [Verdict("bad", f"Alarm: {line}.") for line in alarms(metrics)]
    gain = get(metrics, "reconstruction.gain_over_copy_db")
    psnr, copy = get(metrics, "reconstruction.psnr_db"), get(metrics, "reconstruction.copy_psnr_db")
    if gain is not None:
        words = (
            ("far better than" if gain >= 6 else "better than" if gain >= 1 else "hardly better than")
            if gain > 0
            else "worse than"
        )
        text = f"Its pictures are {words} repeating the current frame: "
        text += f"{psnr:.1f} dB against {copy:.1f} dB."
        found.append(Verdict("good" if gain >= 3 else "bad", text))
    found += [verdict for verdict in (_ball(metrics), _paddle(metrics), _bricks(metrics)) if verdict]
    delta = get(metrics, "reconstruction.delta_psnr_db")
    if delta is not None and delta >= IGNORED_DB:
        text = f"The codes matter: with the codes of another transition the picture loses {delta:.1f} dB."
        found.append(Verdict("good" if delta >= 3 else "plain", text))
    found += [verdict for verdict in (_leak(metrics), _transfer(metrics)) if verdict]
    usage, active = get(metrics, "codebook.usage"), get(metrics, "codebook.active")
    if usage is not None:
        text = f"{percent(usage, 0)} of the codes are in use, {percent(active, 0)} of all actively."
        found.append(Verdict("good" if active >= USE_CRITERION else "bad", text))
    return found


def criteria(metrics: dict[str, Any]) -> list[Criterion]:
    """The text's success criteria, each with its number."""
    psnr, gain = get(metrics, "reconstruction.psnr_db"), get(metrics, "reconstruction.gain_over_copy_db")
    usage, active = get(metrics, "codebook.usage"), get(metrics, "codebook.active")
    color = "RGB" if metrics["color"] == "rgb" else "gray"
    return [
        Criterion(
            "Reconstruction PSNR > 28 dB",
            f"{number(psnr, 1, 'dB')} ({color} frames)",
            _above(psnr, PSNR_CRITERION_DB),
            f"copying has {number(get(metrics, 'reconstruction.copy_psnr_db'), 1, 'dB')}: "
            f"gain {number(gain, 1, 'dB')}, on what moves "
            f"{number(get(metrics, 'reconstruction.moving_gain_db'), 1, 'dB')}",
        ),
        Criterion(
            "At least 50 % of the codebook actively used",
            percent(active),
            _above(active, USE_CRITERION),
            f"chosen at all: {percent(usage)}; perplexity {number(get(metrics, 'codebook.perplexity'), 1)} "
            f"of {get(metrics, 'codebook.size')}",
        ),
        Criterion(
            "Visually plausible next frames",
            f"SSIM {number(get(metrics, 'reconstruction.ssim'), 4)}",
            _plausible(metrics),
            "ball, paddle and bricks right: "
            + ", ".join(
                percent(get(metrics, f"elements.{key}"))
                for key in ("ball.within_2px", "paddle.within_2px", "bricks.state_accuracy")
            ),
        ),
        _patterns(metrics),
        _consistent(metrics),
    ]


def _patterns(metrics: dict[str, Any]) -> Criterion:
    """Clear patterns for paddle, bounce and brick: mutual information above 95 % of the shuffles."""
    clear = {name: get(metrics, f"events.clear.{name}") for name in ("paddle", "bounce", "brick")}
    there = [name for name, value in clear.items() if value is not None]
    known = [clear[name] for name in there]
    bits = ", ".join(
        f"{name} {number(get(metrics, f'events.mutual_information_bits.{name}'), 3)}" for name in there
    )
    share = get(metrics, "agreement.share_of_ceiling")
    return Criterion(
        "Clear patterns in the codes for similar transitions",
        f"clear for {sum(known)} of {len(known)} ({', '.join(there) or 'no events known'})",
        all(known) if known else None,
        f"bits in the best cell: {bits}; controls: {percent(share, 0)} of the ceiling",
    )


def _consistent(metrics: dict[str, Any]) -> Criterion:
    """Train, validation and test PSNR within 1 dB."""
    splits = metrics.get("splits") or {}
    levels = [numbers["psnr_db"] for numbers in splits.values() if numbers["psnr_db"] is not None]
    gains = [numbers["gain_over_copy_db"] for numbers in splits.values()]
    spread = max(levels) - min(levels) if len(levels) == 3 else None
    return Criterion(
        "Train, validation and test consistent",
        f"PSNR within {number(spread, 2, 'dB')}",
        None if spread is None else spread <= SPLITS_CRITERION_DB,
        "gain over copying: " + ", ".join(number(gain, 1) for gain in gains) + " dB",
    )


def _plausible(metrics: dict[str, Any]) -> bool | None:
    """More like the truth than the frame before, and the ball, if this game has one, in 9 of 10 pictures."""
    ssim, copy = get(metrics, "reconstruction.ssim"), get(metrics, "reconstruction.copy_ssim")
    if ssim is None or copy is None:
        return None
    ball = get(metrics, "elements.ball.detected")
    return ssim > copy and (ball is None or ball >= 0.9)


def _ball(metrics: dict[str, Any]) -> Verdict | None:
    detected, near = get(metrics, "elements.ball.detected"), get(metrics, "elements.ball.within_2px")
    if detected is None:
        return None
    if detected < 0.5:
        return Verdict("bad", f"The ball is missing from {percent(1 - detected, 0)} of the pictures.")
    false = get(metrics, "elements.ball.false_share")
    text = f"The ball is within 2 pixels of its place in {percent(near, 0)} of the pictures"
    text += f"; {percent(false, 1)} show one too many." if false else "."
    return Verdict("good" if near >= 0.9 else "bad" if near < 0.6 else "plain", text)


def _paddle(metrics: dict[str, Any]) -> Verdict | None:
    near = get(metrics, "elements.paddle.within_2px")
    if near is None:
        return None
    copy = get(metrics, "elements.paddle.copy_within_2px")
    text = f"The paddle is within 2 pixels in {percent(near, 0)} (repeating the frame: {percent(copy, 0)})."
    return Verdict("good" if near >= 0.95 else "bad" if near < 0.8 else "plain", text)


def _bricks(metrics: dict[str, Any]) -> Verdict | None:
    right, recall = (
        get(metrics, "elements.bricks.state_accuracy"),
        get(metrics, "elements.bricks.vanish_recall"),
    )
    if right is None:
        return None
    text = f"{percent(right, 2)} of the brick states are right"
    text += f"; of the bricks that are hit, {percent(recall, 0)} vanish." if recall is not None else "."
    good = right >= 0.999 and (recall is None or recall >= 0.9)
    return Verdict("good" if good else "bad" if recall is not None and recall < 0.5 else "plain", text)


def _leak(metrics: dict[str, Any]) -> Verdict | None:
    share = get(metrics, "reconstruction.leak_share")
    if share is None or share < LEAK_SHARE:
        return None
    return Verdict(
        "bad", f"The codes also carry what stands still: {percent(share, 0)} of another scene comes along."
    )


def _transfer(metrics: dict[str, Any]) -> Verdict | None:
    share, near = (get(metrics, f"transfer.paddle_direction{part}") for part in ("", "_near"))
    if share is None:
        return None
    text = f"Codes that move the paddle move it the same way in other frames in {percent(share, 0)}"
    if near is not None and near > share:
        text += f" ({percent(near, 0)} from nearly the same place)"
    return Verdict("good" if share >= TRANSFER_SHARE else "bad" if share < 0.6 else "plain", text + ".")


def _above(value: float | None, limit: float) -> bool | None:
    return None if value is None else value >= limit
