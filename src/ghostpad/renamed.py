"""Weights and config fields that were renamed: files of earlier versions load, and models keep their hashes.

Add a line here whenever a module of a saved model or a field of a saved config gets another name.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

ValueT = TypeVar("ValueT")

WEIGHTS = {
    "movement.": "prior.movement.",
    "finder.pushed": "finder.buttons",
    "finder.rest": "finder.noop",
    "finder.recent": "finder.newest_nll",
    "finder.begun": "finder.is_initialized",
    "finder.idle": "finder.no_effect",
}
"""Prefix of names in a state dict → the prefix that replaced it. The longest that fits counts."""
CONFIG_FIELDS = {
    "head_start": "residual_logit_bias",
}
"""Name of a config field → the name that replaced it, in whichever config it stands."""


def current_weights(weights: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A state dict of any version under today's names."""
    return {_replaced(name, WEIGHTS): value for name, value in weights.items()}


def former_weights(weights: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A state dict under the names of the first version, over which hashes are computed."""
    former = {new: old for old, new in WEIGHTS.items()}
    return {_replaced(name, former): value for name, value in weights.items()}


def current_config(plain: Any) -> Any:
    """A plain config of any version with today's names of fields."""
    return _with_fields(plain, CONFIG_FIELDS)


def former_config(plain: Any) -> Any:
    """A plain config with the field names of the first version, over which hashes are computed."""
    return _with_fields(plain, {new: old for old, new in CONFIG_FIELDS.items()})


def current_options(options: list[str]) -> tuple[list[str], dict[str, str]]:
    """Command line options with today's names of fields, and the flags that were replaced."""
    flags: dict[str, str] = {}
    current = []
    for option in options:
        flag, *value = option.split("=", 1)
        path, dot, field = flag.removeprefix("--").rpartition(".")
        name = CONFIG_FIELDS.get(field.replace("-", "_"))
        if name and flag.startswith("--"):
            flags[flag] = f"--{path}{dot}{name.replace('_', '-')}"
        current.append("=".join([flags.get(flag, flag), *value]))
    return current, flags


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
