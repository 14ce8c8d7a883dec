"""Weights, config fields and flags that were renamed: files and scripts of earlier versions keep working.

Add a line here whenever a module of a saved model, a field of a saved config or a flag gets another name.
Models keep their hashes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

ValueT = TypeVar("ValueT")

WEIGHTS = {
    "finder.pushed": "finder.buttons",
    "finder.rest": "finder.noop",
    "finder.recent": "finder.newest_nll",
    "finder.begun": "finder.is_initialized",
    "finder.idle": "finder.no_effect",
    "rollouts.practice.hardness": "rollouts.sampling.priority",
    "dynamics.told.": "dynamics.given.",
    "dynamics.guessed.": "dynamics.expected.",
    "dynamics.trust.": "dynamics.residual_bias.",
    **{
        f"dynamics.{part}.{number}.anywhere.": f"dynamics.{part}.{number}.context."
        for part in ("blocks", "button_blocks")
        for number in range(8)
    },
    "movement.around.": "prior.dynamics.convolutions.",
    "movement.seen.": "prior.dynamics.crop.",
    "movement.facts.": "prior.dynamics.state.",
    "movement.straight.": "prior.dynamics.extrapolation.",
    "movement.out.": "prior.dynamics.out.",
    "movement.trust.": "prior.dynamics.bias.",
    "movement.is_taught": "prior.dynamics.is_trained",
    "movement.pushes.past.": "prior.action_motion.past.",
    "movement.pushes.before.": "prior.action_motion.previous_button.",
    "movement.pushes.held.": "prior.action_motion.button.",
    "movement.pushes.rest.": "prior.action_motion.head.",
    "movement.pushes.is_taught": "prior.action_motion.is_trained",
    "movement.pushes.lowest": "prior.action_motion.lowest",
    "movement.pushes.highest": "prior.action_motion.highest",
    "movement.pushes.slack_": "prior.action_motion.overshoot_",
    "movement.pushes.acts_as": "prior.action_motion.acts_as",
    "movement.pushes.resting": "prior.action_motion.rest_button",
    "movement.usual_frame": "prior.scene.typical_frame",
    "movement.usual_known": "prior.scene.is_typical",
    "movement.covers": "prior.scene.occluders",
    "movement.parts": "prior.scene.rigid_parts",
    "movement.tints": "prior.scene.row_colors",
    "movement.coming_button": "prior.scene.spawn_button",
    "movement.steered.place": "prior.scene.controllable_position",
    "movement.steered.": "prior.scene.controllable_",
    "movement.coming.place": "prior.scene.spawn_position",
    "movement.coming.": "prior.scene.spawn_",
    "movement.tinted.place": "prior.scene.small_position",
    "movement.tinted.": "prior.scene.small_",
}
"""Prefix of names in a state dict → the prefix that replaced it. The longest that fits counts."""
REMOVED_WEIGHTS = ("movement.stays", "prior.scene.static")
"""Names in state dicts of earlier versions that are ignored."""
CONFIG_FIELDS = {
    "head_start": "residual_logit_bias",
    "lapses": "object_dropout",
    "movement_steps": "object_steps",
    "past_share": "warmup_share",
}
"""Name of a config field → the name that replaced it, in whichever config it stands."""
_ADDED_TO_ARCHITECTURE = {"least_grid": 0, "mse_weight": 1.0, "residual": False, "motion": "off"}
ADDED_FIELDS: dict[str, dict[str, Any]] = {
    "frames": {"history": 1},
    "architecture": _ADDED_TO_ARCHITECTURE,
    "model": _ADDED_TO_ARCHITECTURE,
    "quantizer": {"entropy_temperature": 1.0},
}
"""For each section of a config: fields that it has since been given, with the values that change nothing."""
FLAGS: dict[str, dict[str, str | None]] = {
    "world": {
        "--window": None,
        "--dynamics.goes-on": "--objects on",
        "--dynamics.no-goes-on": "--objects off",
    }
}
"""For each verb, old flag → the words that replaced it, or None if the flag and its value are ignored."""


def current_weights(weights: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A state dict of any version under today's names."""
    kept = {name: value for name, value in weights.items() if name not in REMOVED_WEIGHTS}
    return {_replaced(name, WEIGHTS): value for name, value in kept.items()}


def former_weights(weights: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A state dict under the names of the first version, over which hashes are computed."""
    former = {new: old for old, new in WEIGHTS.items()}
    return {_replaced(name, former): value for name, value in weights.items()}


def current_config(plain: Any) -> Any:
    """A plain config of any version with today's names of fields."""
    plain = _with_added(_with_fields(plain, CONFIG_FIELDS))
    if isinstance(plain, dict) and "preset" in plain:  # the config of a training run of a latent action model
        plain = {"history": 1, **plain}
    if isinstance(plain, dict) and "goes_on" in plain.get("dynamics", {}):
        # Version 0.1: the object prior was switched on in the dynamics, of which there was one kind.
        dynamics = {"kind": "conv", **plain["dynamics"]}
        objects = dynamics.pop("goes_on")
        if "object_steps" in plain:  # the config of a training run, not of a model
            objects = "auto" if objects else "off"
        plain = {**plain, "objects": objects, "dynamics": dynamics}
        # Training on windows is no longer possible; 0 stood for whole frames.
        if plain.get("window") == 0:
            del plain["window"]
    return plain


def former_config(plain: Any) -> Any:
    """A plain config with the fields of the first version, and later ones that matter, as hashes need it."""
    return _without_added(_with_fields(plain, {new: old for old, new in CONFIG_FIELDS.items()}))


def current_flags(options: Sequence[str], renamed: Mapping[str, str | None]) -> tuple[list[str], list[str]]:
    """Command-line options under today's names, and a warning about each that has another.

    Args:
        options: words of a command line, `--flag value` or `--flag=value`.
        renamed: a table as in `FLAGS`; flags of renamed config fields need no line there.
    """
    current: list[str] = []
    warnings: list[str] = []
    ignoring = False
    for word in options:
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        is_value = not word.startswith("--")
        new = flag if is_value else renamed.get(flag, _field_flag(flag))
        if is_value and ignoring:
            ignoring = False
        elif new == flag:
            current.append(word)
            ignoring = False
        elif new is None:
            ignoring = not equals
            warnings.append(f"{flag} has no effect and is ignored")
        else:
            current += [*new.split(), *([value] if equals else [])]
            warnings.append(f"{flag} is now {new}")
    return current, warnings


def _field_flag(flag: str) -> str:
    """`--section.field-name` with today's names of the config's fields."""
    fields = flag.removeprefix("--").replace("-", "_").split(".")
    return "--" + ".".join(CONFIG_FIELDS.get(field, field) for field in fields).replace("_", "-")


def _replaced(name: str, prefixes: Mapping[str, str]) -> str:
    fitting = [prefix for prefix in prefixes if name.startswith(prefix)]
    if not fitting:
        return name
    prefix = max(fitting, key=len)
    return prefixes[prefix] + name.removeprefix(prefix)


def _with_fields(plain: Any, names: Mapping[str, str]) -> Any:
    if isinstance(plain, dict):
        return {names.get(name, name): _with_fields(value, names) for name, value in plain.items()}
    return plain


def _with_added(plain: Any, section: str = "") -> Any:
    if isinstance(plain, dict):
        filled = {**ADDED_FIELDS.get(section, {}), **plain}
        return {name: _with_added(value, name) for name, value in filled.items()}
    return plain


def _without_added(plain: Any, section: str = "") -> Any:
    if isinstance(plain, dict):
        added = ADDED_FIELDS.get(section, {})
        kept = {name: value for name, value in plain.items() if name not in added or value != added[name]}
        return {name: _without_added(value, name) for name, value in kept.items()}
    return plain
