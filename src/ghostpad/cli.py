"""The command line: reads the options, calls the verb, and fails politely.

A verb's module is imported when the verb is used and not before, so that asking for help never loads torch.
"""

import contextlib
import dataclasses
import difflib
import importlib
import io
import os
import re
import signal
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from ghostpad import __version__
from ghostpad.errors import UserError
from ghostpad.renamed import current_options
from ghostpad.verbs import VERBS

DONE, MISTAKE, INTERRUPTED = 0, 2, 130
EVERYWHERE = ("device", "seed", "workers")
# What the parser says, and how a person would say it.
REPHRASED = {
    r"Error parsing (\S+): invalid literal for int\(\) with base 10:": r"\1 wants a whole number, not",
    r"Error parsing (\S+): could not convert string to float:": r"\1 wants a number, not",
    r"[Ii]nvalid choice ('.*') for argument '(\S+)'. Expected one of \((.*?),?\)": r"\2 is one of \3, not \1",
    r"Missing value for argument '(\S+)'. Expected (\d+) values": r"\1 wants a value",
    r"Missing from ghostpad (\S+): (\S+).*": r"\2 is missing",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit status: 0 done, 2 a user's mistake, 130 interrupted."""
    # Threads of OpenMP spin for a while after each piece of work, which starves others on few cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name = arguments[0] if arguments and arguments[0] in VERBS else None
    try:
        with _sigterm_interrupts():
            _dispatch(arguments)
            sys.stdout.flush()
    except UserError as mistake:
        return _complain(mistake)
    except KeyboardInterrupt:
        again = f"; what was finished is kept: {VERBS[name].again}" if name else ""
        return _complain(f"interrupted{again}", INTERRUPTED)
    except BrokenPipeError:
        # The reader has left, as in `ghostpad | head -1`; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except OSError as error:
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"{where}{error.strerror}; mend this and run the same command again")
    return DONE


def _dispatch(arguments: list[str]) -> None:
    if arguments and arguments[0] == "help":
        arguments = [*arguments[1:2], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return
    if "--version" in arguments:
        print(f"ghostpad {__version__}")
        return
    name, *options = arguments
    if name not in VERBS:
        raise UserError(f"there is no verb {name!r}{_nearest(name, VERBS)}; `ghostpad` alone lists them all")
    options, renamed = current_options(options)
    for former, current in renamed.items():
        print(f"ghostpad: {former} is now called {current}", file=sys.stderr)
    verb = VERBS[name]
    if name == "train":
        config = _train(options)
    else:
        module = importlib.import_module(verb.module)
        config = _parse(name, getattr(module, verb.config), options)
        getattr(module, verb.function)(config)
    if verb.leaves and os.environ.get("RANK", "0") == "0":  # torchrun starts many of us
        print(verb.leaves.format(**vars(config)))


def _train(options: list[str]) -> Any:
    """Start from a preset, let the other options change it, and hand training its checks."""
    training = importlib.import_module(VERBS["train"].module)
    presets = importlib.import_module("ghostpad.presets").PRESETS
    default = training.require_preset(_value_of("--preset", options) or "spec", presets)
    listing = "\n".join(f"  {name:8}{_first_line(preset)}" for name, preset in presets.items())
    more = f"A preset sets every option at once; the other options then change it. There are:\n{listing}"
    config = _parse("train", training.TrainConfig, options, default=default, more=more)
    # Training is a floor below evaluation and cannot import it: this is where the two meet.
    from ghostpad.evaluation.checks import light_checks

    training.train(config, checks=light_checks)
    return config


def _parse(name: str, config_type: type, options: list[str], default: Any = None, more: str = "") -> Any:
    """Return the config that `options` describe, or print its help and leave."""
    import tyro

    verb = VERBS[name]
    fields = {field.name for field in dataclasses.fields(config_type)}
    for common in EVERYWHERE:
        if common not in fields and _value_of(f"--{common}", options) is not None:
            options = _without(f"--{common}", options)
            print(f"ghostpad: --{common} has no effect on {name} and is ignored", file=sys.stderr)
    about = f"{verb.summary[0].upper()}{verb.summary[1:]}.\n\nFor example: ghostpad {name} {verb.example}"
    markers = (tyro.conf.PositionalRequiredArgs, tyro.conf.PositionalMetavarFromFieldName)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(
                config_type,
                prog=f"ghostpad {name}",
                description=f"{about}\n\n{more}" if more else about,
                args=options,
                config=markers if verb.positional else (),
                registry=_registry(),
                **({} if default is None else {"default": default}),
            )
    except SystemExit as leaving:
        if not leaving.code:
            raise
        raise UserError(f"{_plain(box.getvalue())}; see ghostpad {name} --help") from None


def _registry() -> Any:
    """Have the parser show what may be left open as `INT (default: none)` and not as a union of types."""
    import tyro
    from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = tyro.constructors.ConstructorRegistry()
    readers = {int: int, float: float, str: str, Path: Path, bool: {"true": True, "false": False}.__getitem__}

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        kinds = typing.get_args(info.type)
        kind = next((kind for kind in kinds if kind in readers), None)
        if kind is None or set(kinds) != {kind, type(None)}:
            return None
        choices = ("none", "true", "false") if kind is bool else None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar=f"{{{','.join(choices)}}}" if choices else kind.__name__.upper(),
            instance_from_str=lambda words: None if words[0] == "none" else readers[kind](words[0]),
            is_instance=lambda value: value is None or isinstance(value, kind),
            str_from_instance=lambda value: [
                "none" if value is None else str(value).lower() if choices else str(value)
            ],
            choices=choices,
        )

    return registry


def _plain(box: str) -> str:
    """Return the first paragraph of the parser's box as one line, with its best guess at what was meant."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip(" │") for line in box.splitlines()]
    paragraphs: list[list[str]] = [[]]
    for line in lines[1:]:  # the first is the box's title
        if set(line) <= set("─-╭╮╰╯"):
            paragraphs.append([])
        else:
            paragraphs[-1].append(line)
    paragraphs = [paragraph for paragraph in paragraphs if paragraph] or [["these options cannot be read"]]
    text = " ".join(paragraphs[0]).rstrip(". ")
    if text.startswith("Unrecognized options: "):
        first = text.removeprefix("Unrecognized options: ").split(", ")[0]
        text = f"unknown option {first}" if first.startswith("-") else f"unexpected argument {first!r}"
        meant = next((p[1] for p in paragraphs if p[0] == "Perhaps you meant:" and len(p) > 1), None)
        return f"{text}, did you mean {re.split('[ ,]', meant)[0]}?" if meant else text
    for pattern, plain in REPHRASED.items():
        text = re.sub(pattern, plain, text)
    return text


def _value_of(flag: str, options: list[str]) -> str | None:
    """Return the last value given to `flag` (`--flag value` or `--flag=value`), None when it is not there."""
    value = None
    for option, after in zip(options, [*options[1:], ""], strict=False):
        if option == flag:
            value = after
        elif option.startswith(f"{flag}="):
            value = option.partition("=")[2]
    return value


def _without(flag: str, options: list[str]) -> list[str]:
    """Return the options without `flag` and its values."""
    return [
        option
        for before, option in zip(["", *options], options, strict=False)
        if option != flag and before != flag and not option.startswith(f"{flag}=")
    ]


def _overview() -> str:
    width = max(map(len, VERBS))
    listing = "\n".join(f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items())
    return f"""\
ghostpad {__version__} works out the gamepad that nobody recorded.

{listing}

For example:
  ghostpad demo
  ghostpad record --episodes 40 --out bulk_videos
  ghostpad train --preset tiny --data bulk_videos

`ghostpad VERB --help` shows every option with its default."""


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def _first_line(documented: Any) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def _complain(message: object, status: int = MISTAKE) -> int:
    print(f"ghostpad: {' '.join(str(message).split())}", file=sys.stderr)
    return status


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that a job that a scheduler ends also leaves its work usable."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
