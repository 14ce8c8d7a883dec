"""Record real Atari games through the Arcade Learning Environment, as folders of PNG frames."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.games import ScriptedPlayer, game_named
from ghostpad.io import whole_folder, write_json
from ghostpad.locking import writing
from ghostpad.machine import num_cores
from ghostpad.progress import progress
from ghostpad.workers import map_in_order

_TRACKER_SHARE = 0.6
"""Share of the episodes of a mixed recording that a scripted player plays."""


@dataclass(frozen=True)
class RecordConfig:
    """What to record, how much of it, and where."""

    out: Path = Path("bulk_videos")
    """folder for the episodes; one that this very recording has begun is completed"""
    game: str = "breakout"
    """ROM name of the Arcade Learning Environment: breakout, pong, space_invaders, …"""
    episodes: int = 40
    """number of episodes"""
    max_frames: int = 1000
    """most frames (PNG files) per episode; an episode also ends with its game"""
    frame_skip: int = 4
    """frames of the console per written frame; the control is held for as long"""
    sticky: float = 0.0
    """probability (0 to 1) that the console repeats the control before instead of taking the new one"""
    policy: Literal["mixed", "random", "tracker"] = "mixed"
    """who plays: random controls held for random times, the scripted player of the game, or some of each"""
    seed: int = 0
    """seed of everything random: the same seed gives the same bytes"""
    workers: int | None = None
    """processes that record at once; all cores when not given"""


def record(config: RecordConfig) -> None:
    """Record `config.episodes` episodes below `config.out`; those that are already there are kept.

    Raises:
        UserError: ale-py is missing, the game is unknown, a number is out of range, or the folder holds
        something else.
    """
    _check(config)
    with writing(config.out, wait=False):
        recorded = _recorded(config)
        tasks = [(config, index) for index in range(config.episodes) if index not in recorded]
        try:
            with progress(what="record", unit="frames") as bar:
                for num_frames in map_in_order(_record_episode, tasks, config.workers or num_cores()):
                    bar.update(num_frames)
        finally:
            for left in config.out.glob(".episode_*.partial"):  # now, or when this was killed before
                shutil.rmtree(left, ignore_errors=True)


def _check(config: RecordConfig) -> None:
    for name, low in (("episodes", 1), ("max_frames", 2), ("frame_skip", 1), ("seed", 0)):
        if getattr(config, name) < low:
            raise UserError(f"--{name.replace('_', '-')} {getattr(config, name)}: must be at least {low}")
    if not 0 <= config.sticky < 1:
        raise UserError(f"--sticky {config.sticky}: must be at least 0 and less than 1")
    if config.policy == "tracker" and _scripted_player(config) is None:
        raise UserError(f"--policy tracker: {config.game} has no scripted player; use --policy random")
    _rom_path(config.game)


def _scripted_player(config: RecordConfig) -> type[ScriptedPlayer] | None:
    game = game_named(config.game)
    return game.scripted_player if game else None


def _rom_path(game: str) -> Path:
    try:
        from ale_py import roms
    except ImportError:
        raise UserError('recording needs ale-py; install it with: pip install "ghostpad[atari]"') from None
    path = roms.get_rom_path(game) if game in roms.get_all_rom_ids() else None
    if path is None:
        raise UserError(
            f"--game {game}: the Arcade Learning Environment has no such game; try breakout or pong"
        )
    return path


def _identity(config: RecordConfig) -> dict[str, Any]:
    """What decides the bytes of an episode, apart from its index."""
    names = ("game", "frame_skip", "sticky", "seed", "policy", "max_frames")
    return {name: getattr(config, name) for name in names}


def _recorded(config: RecordConfig) -> set[int]:
    """Indices of the episodes that are there already; refuses a folder that holds anything else."""
    if not config.out.exists():
        return set()
    if not config.out.is_dir():
        raise UserError(f"{config.out} is a file; choose another folder with --out")
    wanted = _identity(config)
    found = set()
    for entry in sorted(config.out.iterdir()):
        if entry.name.startswith("."):
            continue
        number = entry.name.removeprefix("episode_")
        if not (number.isdigit() and entry.name == _episode_name(int(number))):
            raise UserError(
                f"{config.out} holds {entry.name}, which is no recording; choose another folder with --out"
            )
        try:
            metadata = json.loads((entry / "episode.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(
                f"{entry} was not recorded by ghostpad; choose another folder with --out"
            ) from None
        for name, value in wanted.items():
            if metadata.get(f"recorded_{name}", metadata.get(name)) != value:
                was = metadata.get(f"recorded_{name}", metadata.get(name))
                raise UserError(
                    f"{entry} was recorded with {name}={was}, not {value}; choose another folder with --out"
                )
        found.add(int(number))
    return found


def _episode_name(index: int) -> str:
    return f"episode_{index:04d}"


def _record_episode(task: tuple[RecordConfig, int]) -> int:
    """Play and write the episode of that index, in a process of its own; returns its number of frames."""
    config, index = task
    policy, seed, rng = draw_player(config, index)
    with whole_folder(config.out / _episode_name(index)) as folder:
        metadata, ram = _play(config, policy, seed, rng, folder)
        game = game_named(config.game)
        if game and (truth := game.truth_from_ram(ram)):
            np.savez(folder / "truth.npz", **truth)  # type: ignore[arg-type]
        write_json(folder / "episode.json", metadata)
    return len(ram)


def draw_player(config: RecordConfig, index: int) -> tuple[str, int, np.random.Generator]:
    """Who plays the episode of that index, the seed of its console, and the generator for all the rest."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, index]))
    policy = config.policy
    if policy == "mixed":
        tracked = rng.random() < _TRACKER_SHARE and _scripted_player(config) is not None
        policy = "tracker" if tracked else "random"
    return policy, int(rng.integers(2**31 - 1)), rng


def _play(
    config: RecordConfig, policy: str, seed: int, rng: np.random.Generator, folder: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """Play and write every frame; returns what happened, and the memory (N, 128) of all frames."""
    emulator = open_emulator(config, seed)
    actions = emulator.getMinimalActionSet()
    player = _scripted_player(config) if policy == "tracker" else None
    choose = player(rng, config.frame_skip) if player else _RandomPolicy(rng, len(actions), config.frame_skip)
    controls, rewards = [], []
    lives, rams = [emulator.lives()], [emulator.getRAM().copy()]
    _write_frame(emulator, folder / "0.png")
    while len(rams) < config.max_frames and not emulator.game_over():
        control = choose(rams[-1])
        rewards.append(int(emulator.act(actions[control])))
        controls.append(control)
        lives.append(emulator.lives())
        _write_frame(emulator, folder / f"{len(rams)}.png")
        rams.append(emulator.getRAM().copy())
    metadata = _identity(config) | {
        "policy": policy,
        "recorded_policy": config.policy,
        "control_names": [action.name for action in actions],
        "controls": controls,
        "rewards": rewards,
        "lives": lives,
    }
    return metadata, np.stack(rams)


def open_emulator(config: RecordConfig, seed: int) -> Any:
    """Return an `ALEInterface` at the start of the game of `config`, with its frame skip and stickiness.

    Raises:
        UserError: ale-py is missing or has no such game.
    """
    rom = _rom_path(config.game)
    from ale_py import ALEInterface, LoggerMode

    ALEInterface.setLoggerMode(LoggerMode.Error)
    emulator = ALEInterface()
    emulator.setInt("random_seed", seed)
    emulator.setInt("frame_skip", config.frame_skip)
    emulator.setFloat("repeat_action_probability", config.sticky)
    emulator.loadROM(str(rom))
    return emulator


def _write_frame(emulator: Any, path: Path) -> None:
    Image.fromarray(emulator.getScreenRGB()).save(path, compress_level=1)


class _RandomPolicy:
    """Any control, held for a random time."""

    def __init__(self, rng: np.random.Generator, num_controls: int, frame_skip: int) -> None:
        self._rng = rng
        self._num_controls = num_controls
        self._frame_skip = frame_skip
        self._left = 0
        self._control = 0

    def __call__(self, ram: np.ndarray) -> int:
        if self._left <= 0:
            self._control = int(self._rng.integers(self._num_controls))
            self._left = max(1, int(self._rng.integers(4, 44)) // self._frame_skip)
        self._left -= 1
        return self._control
