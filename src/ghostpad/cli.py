"""The command line: parses options with tyro, runs the verb, and reports mistakes in one line.

A verb's modules are imported only when it runs, and asking for help never loads torch.
"""

import contextlib
import dataclasses
import difflib
import io
import os
import signal
import sys
import types
import typing
import warnings
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from ghostpad import __version__
from ghostpad.errors import Notice, UserError
from ghostpad.renamed import FLAGS, current_flags
from ghostpad.verbs import VERBS, load

DONE, MISTAKE, INTERRUPTED = 0, 2, 130
PYTHON_FORMAT = warnings.formatwarning
COMMON_FLAGS = ("device", "seed", "workers")
"""Scripts may pass these to every verb; one that has no use for them warns."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0 done, 1 `doctor` found a problem, 2 a user's mistake, 130 interrupted.
    """
    # OpenMP's threads spin for a while after each task, which starves other processes on few cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):  # names of files may not be UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _format_warning
    try:
        with _sigterm_interrupts():
            status = _dispatch(arguments)
            sys.stdout.flush()
            return status
    except UserError as error:
        return _report(error)
    except KeyboardInterrupt:
        verb = VERBS.get(arguments[0]) if arguments else None
        rest = f"; finished work is kept: {verb.after_interrupt}" if verb else ""
        return _report(f"interrupted{rest}", INTERRUPTED)
    except BrokenPipeError:
        # The reader has left, as in `ghostpad | head -1`; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        return _report(f"{where}{error.strerror}; fix this and run the same command again")
    return DONE


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """One line for a notice, and Python's format for other warnings."""
    if issubclass(category, Notice):
        return f"ghostpad: {message}\n"
    return PYTHON_FORMAT(message, category, filename, lineno, line)


def _dispatch(arguments: list[str]) -> int:
    """Run one command line; its exit status, unless it fails."""
    if arguments and arguments[0] == "help":
        arguments = [*arguments[1:2], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return DONE
    if "--version" in arguments:
        print(f"ghostpad {__version__}")
        return DONE
    name, *options = arguments
    if name not in VERBS:
        raise UserError(f"there is no verb {name!r}{_nearest(name, VERBS)}; `ghostpad` alone lists them all")
    config = _parse(name, options)
    result = load(VERBS[name].function)(config)
    if VERBS[name].done and os.environ.get("RANK", "0") == "0":  # torchrun starts many of us
        print(VERBS[name].done.format(**vars(config)))
    return result if VERBS[name].returns_status else DONE


def _parse(name: str, options: list[str]) -> Any:
    """Return the config that `options` describe, or print its help and exit."""
    import tyro
    from tyro._errors import on_parse_error

    config_type = load(VERBS[name].config)
    known = list(_flags(config_type))
    unused = {f"--{common}": None for common in COMMON_FLAGS if f"--{common}" not in known}
    options, warnings = current_flags(options, unused | FLAGS.get(name, {}))
    for warning in warnings:
        print(f"ghostpad: {warning}", file=sys.stderr)
    description = [f"{VERBS[name].summary[0].upper()}{VERBS[name].summary[1:]}."]
    description.append(f"For example: ghostpad {name} {VERBS[name].example}")
    default: dict[str, Any] = {}
    if name == "train":
        presets = load("ghostpad.presets:PRESETS")
        default["default"] = load("ghostpad.presets:preset")(_value_of("--preset", options) or "spec")
        listing = "\n".join(f"  {key:8}{make.__doc__.partition(chr(10))[0]}" for key, make in presets.items())
        description.append(f"A preset sets every option, and the other options change it:\n{listing}")

    def fail(event: object) -> None:
        raise UserError(f"{_explain(event, known)}; see ghostpad {name} --help")

    with on_parse_error(fail):
        return tyro.cli(
            config_type,
            prog=f"ghostpad {name}",
            description="\n\n".join(description),
            args=options,
            config=(tyro.conf.PositionalRequiredArgs, tyro.conf.PositionalMetavarFromFieldName),
            registry=_registry(),
            **default,
        )


def _explain(event: Any, known: list[str]) -> str:
    """What tyro rejects, in one line."""
    from tyro import _errors

    argument = getattr(event, "argument", None)
    flag = argument.lowered.name_or_flags[-1] if argument else ""
    match event:
        case _errors.UnrecognizedArgs(tokens=[first, *_]):
            if first.startswith("-"):
                return f"unknown option {first}{_nearest(first.partition('=')[0], known)}"
            return f"unexpected argument {first!r}"
        case _errors.MissingArgs(missing_arguments=[first, *_]):
            name = first.arg.display_name()
            return f"{name if name.startswith('-') else name.upper()} is missing"
        case _errors.BadValue():
            return f"{flag} needs a value"
        case _errors.InvalidChoice(value=value, choices=choices):
            return f"{flag} is one of {', '.join(choices)}, not {value!r}"
        case _errors.InstantiationFailure(message=message):
            if argument is not None and argument.lowered.nargs != 1:
                return f"{flag} expects {argument.lowered.metavar}"
            return f"{flag}: {message}"
    return "these options are invalid"


def _flags(config_type: type, prefix: str = "--") -> Iterator[str]:
    """All flags of a config, those of nested configs by dotted names."""
    hints = typing.get_type_hints(config_type)
    for field in dataclasses.fields(config_type):
        name = f"{prefix}{field.name.replace('_', '-')}"
        if dataclasses.is_dataclass(kind := hints[field.name]):
            yield from _flags(kind, f"{name}.")  # type: ignore[arg-type]
        else:
            yield name


def _registry() -> Any:
    """Parse numbers with plain errors, and optional values as `INT (default: none)` instead of a union."""
    import tyro
    from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = tyro.constructors.ConstructorRegistry()
    expected = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}

    @registry.primitive_rule
    def scalar(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        is_union = typing.get_origin(info.type) in (types.UnionType, typing.Union)
        kinds = typing.get_args(info.type) if is_union else (info.type,)
        optional = types.NoneType in kinds
        kind = next((kind for kind in kinds if kind in expected), None)
        if kind is None or len(kinds) != 1 + optional:
            return None

        def read(words: list[str]) -> Any:
            if optional and words[0].lower() == "none":
                return None
            try:
                return kind(words[0])
            except ValueError:
                raise ValueError(f"{words[0]!r} is not {expected[kind]}") from None

        return PrimitiveConstructorSpec(
            nargs=1,
            metavar=kind.__name__.upper(),
            instance_from_str=read,
            is_instance=lambda value: isinstance(value, kind) or (optional and value is None),
            str_from_instance=lambda value: ["none" if value is None else str(value)],
        )

    return registry


def _value_of(flag: str, options: list[str]) -> str | None:
    """The last value given to `flag`, as `--flag value` or `--flag=value`; None when it is absent."""
    values = [after for option, after in pairwise([*options, ""]) if option == flag]
    values += [option.partition("=")[2] for option in options if option.startswith(f"{flag}=")]
    return values[-1] if values else None


def _overview() -> str:
    width = max(map(len, VERBS))
    listing = "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items())
    return f"""\
ghostpad {__version__} works out the gamepad that was never recorded.

{listing}

For example:
  ghostpad demo
  ghostpad record --episodes 40 --out bulk_videos
  ghostpad train --preset tiny --data bulk_videos

`ghostpad VERB --help` shows every option with its default."""


def _nearest(name: str, known: Iterable[str]) -> str:
    # `--codebook-size` may mean `--model.quantizer.codebook-size`.
    candidates = {word.rpartition(".")[2].lstrip("-"): word for word in known}
    candidates |= {word.lstrip("-"): word for word in known}
    close = difflib.get_close_matches(name.lstrip("-"), candidates, n=1)
    return f", did you mean {candidates[close[0]]}?" if close else ""


def _report(message: object, status: int = MISTAKE) -> int:
    print(f"ghostpad: {' '.join(str(message).split())}", file=sys.stderr)
    return status


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that a job that a scheduler ends also keeps its finished work."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
