"""The keys of `metrics.json`, common ones and those of a game: unit, meaning, and why a number is missing."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ghostpad.games import GAMES, REFERENCE_GAME, Game, Metric

VERSION = 2  # raised whenever a key changes its name, unit or meaning
UNKNOWN_GAME = "no detector recognizes this game"
NOT_IN_GAME = "not part of this game"

_SHARE = "share of transitions"
_RECONSTRUCTION = {
    "psnr_db": Metric("dB", "10·log10(1/MSE), MSE pooled over all transitions; at most 100"),
    "psnr_mean_db": Metric("dB", "mean of the PSNR of each transition"),
    "ssim": Metric(
        "0…1", "structural similarity, Gaussian window 11, sigma 1.5, on `ssim_transitions` transitions"
    ),
    "l1": Metric("0…1", "mean absolute error of values in [0, 1]"),
    "l2": Metric("0…1", "mean squared error of values in [0, 1]"),
    "moving_psnr_db": Metric("dB", "PSNR where the true frames differ, dilated by 2 pixels"),
}
EVENT_METRICS = {
    "mutual_information_bits": Metric("bits", "between an event and the code of the most informative cell"),
    "shuffled_bits": Metric("bits", "the same when the event is shuffled, mean of 200"),
    "clear_bits": Metric("bits", "95th percentile of the same"),
    "clear": Metric("", "whether the pattern is clear: above the 95th percentile"),
    "count": Metric("transitions", "in which it happens"),
}
_PROBE = {
    "accuracy": Metric(_SHARE, "control named correctly by a linear probe on one-hot codes"),
    "balanced_accuracy": Metric("0…1", "mean over controls of the share named correctly"),
    "chance": Metric(_SHARE, "control named correctly by always naming the most frequent one in training"),
    "ceiling": Metric(
        _SHARE,
        "the supervised ceiling: control named correctly from the frames, by an inverse dynamics network",
    ),
    "share_of_ceiling": Metric("", "(accuracy - chance) / (ceiling - chance)"),
}
_CONTROLLABILITY = {
    "accuracy": Metric("share of branches", "control named correctly by a linear probe on one-hot codes"),
    "chance": Metric("share of branches", "1 / number of controls: every control is equally frequent"),
    "upper_bound": Metric(
        "share of branches", "the best possible accuracy, as controls with equal next frames look the same"
    ),
    "equal_codes": Metric(
        "share of pairs", "branches of different states under the same control that have equal codes"
    ),
    "equal_codes_other_control": Metric("share of pairs", "the same under different controls"),
    "equal_cells": Metric("share of cells", "with equal codes, under the same control in different states"),
    "equal_cells_other_control": Metric("share of cells", "the same under different controls"),
    "button_accuracy": Metric(
        "share of branches", "control named correctly from the button, which motion alone has found"
    ),
    "equal_buttons": Metric(
        "share of pairs", "with equal buttons, under the same control in different states"
    ),
    "equal_buttons_other_control": Metric("share of pairs", "the same under different controls"),
    "num_train": Metric("branches", "of training episodes, on which the probe is fitted"),
    "num_test": Metric("branches", "of this split, on which it is scored"),
}


def _with_copy(prefix: str, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Each key, and the same for the model that copies the current frame."""
    keys = {}
    for key, metric in metrics.items():
        keys[f"{prefix}.{key}"] = metric
        keys[f"{prefix}.copy_{key}"] = Metric(metric.unit, f"the same for copying the current frame: {key}")
    return keys


COMMON_KEYS: dict[str, Metric] = {
    "version": Metric("", f"version of this schema: {VERSION}"),
    "ghostpad": Metric("", "version of the package"),
    "split": Metric("", "train, validation or test"),
    "game": Metric("", "the recognized game"),
    "num_episodes": Metric("episodes", "in the split"),
    "num_transitions": Metric("transitions", "that were evaluated"),
    "color": Metric("", "gray or rgb: what the model sees, and what everything here is measured on"),
    "height": Metric("pixels", "of a frame"),
    "width": Metric("pixels", "of a frame"),
    "stride": Metric("frames", "from a frame to its next frame"),
    "seed": Metric("", "of all draws"),
    "model_hash": Metric("", "SHA-256 of the model"),
    "data_fingerprint": Metric("", "SHA-256 of the data"),
    **_with_copy("reconstruction", _RECONSTRUCTION),
    "reconstruction.gain_over_copy_db": Metric("dB", "psnr_db less copy_psnr_db"),
    "reconstruction.moving_gain_db": Metric("dB", "moving_psnr_db less copy_moving_psnr_db"),
    "reconstruction.delta_psnr_db": Metric(
        "dB", "PSNR with own codes less PSNR with those of other transitions"
    ),
    "reconstruction.leak_share": Metric("share", "of static content that codes carry to another frame"),
    "reconstruction.ssim_transitions": Metric("transitions", "drawn for SSIM"),
    "reconstruction.delta_transitions": Metric("transitions", "drawn for ΔPSNR and the leak test"),
    "codebook.size": Metric("codes", "K"),
    "codebook.grid": Metric("cells", "rows and columns"),
    "codebook.usage": Metric("share of codes", "chosen at least once"),
    "codebook.active": Metric("share of codes", "with at least 1/(10·K) of all choices"),
    "codebook.active_changing": Metric("share of codes", "the same among the cells with a changed pixel"),
    "codebook.changing_share": Metric("share of cells", "with a changed pixel, over all transitions"),
    "codebook.perplexity": Metric("codes", "exp(H) of all choices together"),
    "codebook.cell_perplexity": Metric("codes", "mean over cells of exp(H) of the choices there"),
    "codebook.cell_perplexities": Metric("codes", "the same by cell, row by row"),
    "codebook.bits_per_transition": Metric("bits", "sum over cells of H"),
    "codebook.histogram": Metric("choices", "by code"),
    "detector.num_frames": Metric("frames", "on which the detector was compared with recorded truth"),
    "events.source": Metric("", "truth (recorded) or detector (detected in the frames)"),
    "events.num_transitions": Metric("transitions", "compared with events"),
    "agreement.classes": Metric("", "controls as directions; the fire button counts as none"),
    "agreement.control_bits": Metric("bits", "entropy of the controls"),
    "agreement.num_train": Metric("transitions", "of training episodes, on which the probe is fitted"),
    "agreement.num_test": Metric("transitions", "of this split, on which it is scored"),
    "agreement.shuffled": Metric(_SHARE, "accuracy of the same probe fitted on shuffled codes"),
    **{f"agreement.{key}": metric for key, metric in _PROBE.items()},
    **{
        f"agreement.window_{key}": Metric(metric.unit, f"{metric.meaning}, from transitions t-1 to t+2")
        for key, metric in _PROBE.items()
    },
    "agreement.branch_ceiling": Metric(
        _SHARE,
        "the best possible guess of the control from the same pair of frames, by how often each is held",
    ),
    "agreement.branch_identifiable": Metric(
        "share of branches", "whose control can be identified: no other control leads to an equal next frame"
    ),
    "agreement.num_branched": Metric("states", "with branches, of all episodes"),
    "agreement.label_budget": Metric(
        _SHARE, "accuracy by number of labelled transitions: mean, low, high of 5"
    ),
    **{f"controllability.{key}": metric for key, metric in _CONTROLLABILITY.items()},
    "splits": Metric("", "a few of these numbers on train, validation and test"),
    "intervals": Metric("", "95 % intervals by bootstrap over episodes, [low, high] by key"),
    "timing": Metric("seconds", "duration; all else is the same for the same seed"),
    "absent": Metric("", "why a number is null: by key, or by the beginning of keys"),
}


def game_keys(game: Game) -> dict[str, Metric]:
    """The keys that a game adds: its elements, its detector, its groups of events, and transfer."""
    keys: dict[str, Metric] = {}
    for name, element in game.elements.items():
        keys |= _with_copy(f"elements.{name}", element.metrics)
    for name, element in game.elements.items():
        keys |= {f"detector.{key}": metric for key, metric in element.detector_keys(name).items()}
    if game.controlled:
        key, name = f"transfer.{game.controlled.name}_direction", game.controlled.name
        keys[key] = Metric(_SHARE, f"codes that move the {name} move it the same way in another frame")
        keys[f"{key}_near"] = Metric(_SHARE, f"the same where the {name} starts within 8 pixels in both")
    for key, metric in EVENT_METRICS.items():
        for group in game.event_groups:
            keys[f"events.{key}.{group}"] = Metric(metric.unit, f"{metric.meaning}: {group}")
    return keys


def keys_of(game: Game | None) -> dict[str, Metric]:
    """The keys of a `metrics.json` about this game; those of the reference game are in every one."""
    return COMMON_KEYS | game_keys(REFERENCE_GAME) | (game_keys(game) if game else {})


def complete(metrics: dict[str, Any], absent: dict[str, str], game: Game | None) -> dict[str, Any]:
    """Fill in missing keys with `null`, and give a reason for every `null`.

    `absent` has reasons by key or by the beginning of keys (`elements` for all of `elements.…`).

    Returns:
        A copy ready for JSON, with floats rounded to 6 decimals, and the reasons that apply under `absent`.
    """
    whole = _plain(metrics)
    for key in keys_of(game):
        if key not in ("timing", "absent"):
            _place(whole, key.split("."))
    if game:
        foreign = {f"elements.{name}" for name in REFERENCE_GAME.elements.keys() - game.elements.keys()}
        foreign |= game_keys(REFERENCE_GAME).keys() - game_keys(game).keys()
        absent = dict.fromkeys(sorted(foreign), NOT_IN_GAME) | absent
    reasons = {}
    for key in _nulls(whole):
        owner = next((start for start in absent if key == start or key.startswith(f"{start}.")), key)
        reasons[owner] = absent.get(owner, "nothing to measure it on in these transitions")
    return {**whole, "absent": dict(sorted(reasons.items()))}


def nest(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"codebook.size": 1}` as `{"codebook": {"size": 1}}`."""
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


def describe(keys: Mapping[str, tuple[str, ...]]) -> str:
    """Keys with unit and meaning as a Markdown table, for the pages in `docs/`."""
    rows = [f"| `{key}` | {unit} | {meaning} |" for key, (unit, meaning, *_) in keys.items()]
    return "\n".join(["| key | unit | meaning |", "|---|---|---|", *rows])


def describe_all() -> str:
    """All keys of `metrics.json` as Markdown: those of any game, then a section for each registered game."""
    games = [f"### {game.name.capitalize()}\n\n{describe(game_keys(game))}" for game in GAMES]
    return "\n\n".join([describe(COMMON_KEYS), *games])


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
