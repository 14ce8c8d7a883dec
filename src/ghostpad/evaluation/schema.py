"""The keys of `metrics.json`: their units and meaning, and how a number that could not be had is written."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

VERSION = 1
"""Raised whenever a key changes its name, unit or meaning."""

_ELEMENT = "share of transitions"
_RECONSTRUCTION = {
    "psnr_db": ("dB", "10·log10(1/MSE), MSE pooled over all transitions; at most 100"),
    "psnr_mean_db": ("dB", "mean of the PSNR of each transition"),
    "ssim": (
        "0…1",
        "structural similarity, Gaussian window 11, sigma 1.5, on `ssim_transitions` transitions",
    ),
    "l1": ("0…1", "mean absolute error of values in [0, 1]"),
    "l2": ("0…1", "mean squared error of values in [0, 1]"),
    "moving_psnr_db": ("dB", "PSNR over the pixels that differ between the true frames, dilated by 2 pixels"),
}
_BALL = {
    "detected": (_ELEMENT, "the ball is seen in the prediction, of those where it is seen in the truth"),
    "within_1px": (_ELEMENT, "seen, and at most 1 pixel off in x and in y"),
    "within_2px": (_ELEMENT, "seen, and at most 2 pixels off in x and in y"),
    "median_px": ("pixels", "median of the larger of |Δx| and |Δy|, where seen in both"),
    "p95_px": ("pixels", "95th percentile of the same"),
    "vx_sign": (_ELEMENT, "it goes the right way in x, of those where it truly moves in x"),
    "vy_sign": (_ELEMENT, "it goes the right way in y, of those where it truly moves in y"),
    "false_share": (_ELEMENT, "more balls are seen in the prediction than in the truth, of all"),
}
_BAR = {
    "detected": (_ELEMENT, "it is seen in the prediction, of those where it is seen in the truth"),
    "within_1px": (_ELEMENT, "seen, and its edge at most 1 pixel off"),
    "within_2px": (_ELEMENT, "seen, and its edge at most 2 pixels off"),
    "median_px": ("pixels", "median distance of its edge, where seen in both"),
    "p95_px": ("pixels", "95th percentile of the same"),
    "iou": ("0…1", "mean overlap of the two bars over their union; 0 where it is not seen"),
}
_WALL = {
    "state_accuracy": ("share of bricks", "standing or gone as in the truth"),
    "vanish_precision": ("share of bricks", "of those that vanish in the prediction: vanish in truth"),
    "vanish_recall": ("share of bricks", "of those that vanish in truth: vanish in the prediction"),
    "back_share": (_ELEMENT, "a brick that was gone stands again in the prediction"),
}

_EVENT = {
    "mutual_information_bits": ("bits", "between an event and the code of the cell that tells most of it"),
    "shuffled_bits": ("bits", "the same when the event is shuffled, mean of 200"),
    "clear_bits": ("bits", "95th percentile of the same"),
    "clear": ("", "whether the pattern is clear: above the 95th percentile"),
    "count": ("transitions", "in which it happens"),
}
_PROBE = {
    "accuracy": (_ELEMENT, "control named right by a linear probe on one-hot codes"),
    "balanced_accuracy": ("0…1", "mean over controls of the share named right"),
    "chance": (_ELEMENT, "control named right by always naming the one most frequent in training"),
    "ceiling": (_ELEMENT, "control named right from the true displacement of the paddle"),
    "share_of_ceiling": ("", "(accuracy - chance) / (ceiling - chance); above 1: codes know more than that"),
}


def _twins(prefix: str, keys: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Each key, and beside it the same for the model that copies the current frame."""
    twins = {}
    for key, (unit, meaning) in keys.items():
        twins[f"{prefix}.{key}"] = (unit, meaning)
        twins[f"{prefix}.copy_{key}"] = (unit, f"the same for copying the current frame: {key}")
    return twins


KEYS: dict[str, tuple[str, str]] = {
    "version": ("", f"version of this schema: {VERSION}"),
    "ghostpad": ("", "version of the package"),
    "split": ("", "train, validation or test"),
    "game": ("", "whose elements were looked for"),
    "num_episodes": ("episodes", "in the split"),
    "num_transitions": ("transitions", "that were evaluated"),
    "color": ("", "gray or rgb: what the model sees, and what everything here is measured on"),
    "height": ("pixels", "of a frame"),
    "width": ("pixels", "of a frame"),
    "stride": ("frames", "from a frame to its next frame"),
    "seed": ("", "of everything that is drawn"),
    "model_hash": ("", "SHA-256 of the model"),
    "data_fingerprint": ("", "SHA-256 of the data"),
    **_twins("reconstruction", _RECONSTRUCTION),
    "reconstruction.gain_over_copy_db": ("dB", "psnr_db less copy_psnr_db"),
    "reconstruction.moving_gain_db": ("dB", "moving_psnr_db less copy_moving_psnr_db"),
    "reconstruction.delta_psnr_db": ("dB", "PSNR with own codes less PSNR with codes of other transitions"),
    "reconstruction.leak_share": (
        "share",
        "of a scene that comes along with its codes to another; 0 is none",
    ),
    "reconstruction.ssim_transitions": ("transitions", "drawn for SSIM"),
    "reconstruction.delta_transitions": ("transitions", "drawn for ΔPSNR and the leak test"),
    "codebook.size": ("codes", "K"),
    "codebook.grid": ("cells", "rows and columns"),
    "codebook.usage": ("share of codes", "chosen at least once"),
    "codebook.active": ("share of codes", "with at least 1/(10·K) of all choices"),
    "codebook.perplexity": ("codes", "exp(H) of all choices together"),
    "codebook.cell_perplexity": ("codes", "mean over cells of exp(H) of the choices there"),
    "codebook.cell_perplexities": ("codes", "the same by cell, row by row"),
    "codebook.bits_per_transition": ("bits", "sum over cells of H"),
    "codebook.histogram": ("choices", "by code"),
    **_twins("elements.ball", _BALL),
    **_twins("elements.paddle", _BAR),
    **_twins("elements.bricks", _WALL),
    "detector.num_frames": ("frames", "on which the detector was held against recorded truth"),
    "detector.ball_visible": ("frames", "of those, with at least half of the ball in the open by that truth"),
    "detector.ball_within_1px": ("share of frames", "ball found within 1 pixel, where it is visible"),
    "detector.paddle_within_1px": ("share of frames", "paddle found within 1 pixel"),
    "detector.brick_states": ("share of bricks", "found as they are"),
    "transfer.paddle_direction": (_ELEMENT, "codes that move the paddle move it the same way elsewhere"),
    "transfer.paddle_direction_near": (_ELEMENT, "the same where both paddles start within 8 pixels"),
    "events.source": ("", "truth (recorded) or detector (found in the pictures)"),
    "events.num_transitions": ("transitions", "held against events"),
    **{
        f"events.{part}.{group}": (unit, f"{meaning}: {group}")
        for part, (unit, meaning) in _EVENT.items()
        for group in ("paddle", "bounce", "brick")
    },
    "agreement.classes": ("", "controls as directions; the fire button counts as none"),
    "agreement.control_bits": ("bits", "entropy of the controls"),
    "agreement.num_train": ("transitions", "of training episodes, on which the probe is fitted"),
    "agreement.num_test": ("transitions", "of this split, on which it is scored"),
    "agreement.shuffled": (_ELEMENT, "accuracy of the same probe fitted on shuffled codes"),
    **{
        f"agreement.{window}{key}": (unit, f"{meaning}{', from transitions t-1 to t+2' if window else ''}")
        for window in ("", "window_")
        for key, (unit, meaning) in _PROBE.items()
    },
    "agreement.label_budget": (_ELEMENT, "accuracy by number of labelled transitions: mean, low, high of 5"),
    "splits": ("", "a few of these numbers on train, validation and test, from `num_transitions` of each"),
    "intervals": ("", "95 % intervals by bootstrap over episodes, [low, high] by key"),
    "timing": ("seconds", "how long it took; all else is the same for the same seed"),
    "absent": ("", "why a number is null: by key, or by the beginning of keys"),
}


def complete(metrics: dict[str, Any], absent: dict[str, str]) -> dict[str, Any]:
    """Fill in the keys that are missing, and say of every `null` why.

    Args:
        metrics: what was measured, nested; numbers that are not numbers become `null`.
        absent: reasons, by key or by the beginning of keys (`elements` for all of `elements.…`).

    Returns:
        A copy ready for JSON, with floats rounded to 6 decimals, and the reasons that apply under `absent`.
    """
    whole = _plain(metrics)
    for key in KEYS.keys() - {"timing", "absent"}:
        _place(whole, key.split("."))
    reasons = {}
    for key in _nulls(whole):
        owner = next((start for start in absent if key == start or key.startswith(f"{start}.")), key)
        reasons[owner] = absent.get(owner, "nothing to measure it on in these transitions")
    return {**whole, "absent": dict(sorted(reasons.items()))}


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"ball.found": 1}` as `{"ball": {"found": 1}}`."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        place = nested
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    return nested


def get(metrics: dict[str, Any], key: str) -> Any:
    """The value at a dotted key, None where there is none."""
    value: Any = metrics
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _place(whole: dict[str, Any], path: list[str]) -> None:
    for name in path[:-1]:
        if whole.get(name) is None:
            whole[name] = {}
        whole = whole[name]
    whole.setdefault(path[-1], None)


def _nulls(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _nulls(part, f"{key}.{name}" if key else name)
    elif value is None:
        yield key


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def describe(keys: Mapping[str, tuple[str, ...]] = KEYS) -> str:
    """Keys with unit and meaning as a Markdown table; `docs/metrics.md` holds it."""
    rows = [f"| `{key}` | {unit} | {meaning} |" for key, (unit, meaning, *_) in keys.items()]
    return "\n".join(["| key | unit | meaning |", "|---|---|---|", *rows])
