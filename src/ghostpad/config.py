"""Configs as plain data (nested frozen dataclasses to dicts and back), their differences and limits."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from ghostpad.errors import UserError

ConfigT = TypeVar("ConfigT")


def to_plain(config: Any) -> Any:
    """Return `config` as dicts, lists, strings and numbers only."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {field.name: to_plain(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, (list, tuple)):
        return [to_plain(item) for item in config]
    return str(config) if isinstance(config, Path) else config


def from_plain(config_type: type[ConfigT], plain: Any, where: str = "config") -> ConfigT:
    """Rebuild a config from `to_plain`'s output.

    Raises:
        UserError: a field is missing, unknown or of another type, as in a file written by another version.
    """
    return _build(config_type, plain, where)


def _build(wanted: Any, plain: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        if plain is None and type(None) in arguments:
            return None
        return _build(next(a for a in arguments if a is not type(None)), plain, where)
    if dataclasses.is_dataclass(wanted):
        return _build_dataclass(wanted, plain, where)
    if origin is tuple:
        if not isinstance(plain, (list, tuple)):
            raise UserError(f"{where} is not a list; the file was written by another version of Ghostpad")
        return tuple(_build(arguments[0], item, where) for item in plain)
    if origin is typing.Literal:
        if plain not in arguments:
            raise UserError(f"{where} is {plain!r}, which this version of Ghostpad does not know")
        return plain
    if wanted is float and isinstance(plain, int):
        return float(plain)
    if wanted is Path:
        return Path(plain)
    if wanted in (int, str, bool, float) and type(plain) is not wanted:
        raise UserError(f"{where} should be of type {wanted.__name__}, but is {plain!r}")
    return plain


def _build_dataclass(wanted: Any, plain: Any, where: str) -> Any:
    hints = typing.get_type_hints(wanted)
    if not isinstance(plain, dict):
        raise UserError(
            f"{where} is not a table of fields; the file was written by another version of Ghostpad"
        )
    if unknown := sorted(set(plain) - set(hints)):
        raise UserError(f"{where}.{unknown[0]} is unknown to this version of Ghostpad")
    if missing := sorted(set(hints) - set(plain)):
        raise UserError(
            f"{where}.{missing[0]} is missing; the file was written by another version of Ghostpad"
        )
    return wanted(**{name: _build(hint, plain[name], f"{where}.{name}") for name, hint in hints.items()})


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield `(dotted field name, old value, new value)` wherever two plain configs differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from differences(old.get(name), new.get(name), f"{prefix}{name}.")
    elif old != new:
        yield prefix.rstrip("."), old, new


def check_minimum(config: Any, minimum: Mapping[str, float]) -> None:
    """Refuse options below their smallest value, given by (dotted) field name; None is never refused.

    Raises:
        UserError: names the flag and its smallest value.
    """
    for name, least in minimum.items():
        value = attrgetter(name)(config)
        if value is not None and not value >= least:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
