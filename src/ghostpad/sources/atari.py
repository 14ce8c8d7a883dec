"""Record real Atari games through the Arcade Learning Environment, as folders of PNG frames."""

import json
import shutil
from collections.abc import Iterator
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
    """folder for the episodes; a recording that was interrupted there is completed"""
    game: str = "breakout"
    """ROM name of the Arcade Learning Environment: breakout, pong, space_invaders, …"""
    episodes: int = 40
    """number of episodes"""
    max_frames: int = 1000
    """most frames (PNG files) per episode; an episode also ends with its game"""
    frame_skip: int = 4
    """console frames per recorded frame; the control is held during all of them"""
    sticky: float = 0.0
    """probability (0 to 1) that the console repeats the previous control instead of the new one"""
    policy: Literal["mixed", "random", "tracker"] = "mixed"
    """who plays: random controls held for random times, the scripted player of the game, or some of each"""
    seed: int = 0
    """seed of all randomness: the same seed gives the same bytes"""
    workers: int | None = None
    """processes that record at once; all cores when not given"""


def record(config: RecordConfig) -> None:
    """Record `config.episodes` episodes below `config.out`; those already recorded are kept.

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
            for left in config.out.glob(".episode_*.partial"):  # left by an interrupted recording
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
    """The options that determine the bytes of an episode, apart from its index."""
    names = ("game", "frame_skip", "sticky", "seed", "policy", "max_frames")
    return {name: getattr(config, name) for name in names}


def _recorded(config: RecordConfig) -> set[int]:
    """Indices of the episodes that are recorded already; refuses a folder that holds anything else."""
    if config.out.is_file():
        raise UserError(f"{config.out} is a file; choose another folder with --out")
    entries = sorted(config.out.iterdir()) if config.out.exists() else []
    return {_recorded_index(entry, config) for entry in entries if not entry.name.startswith(".")}


def _recorded_index(entry: Path, config: RecordConfig) -> int:
    number = entry.name.removeprefix("episode_")
    choose = "choose another folder with --out"
    if not (number.isdigit() and entry.name == _episode_name(int(number))):
        raise UserError(f"{entry.parent} holds {entry.name}, which is not a recorded episode; {choose}")
    try:
        metadata = json.loads((entry / "episode.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{entry} was not recorded by ghostpad; {choose}") from None
    for name, value in _identity(config).items():
        was = metadata.get(f"recorded_{name}", metadata.get(name))
        if was != value:
            raise UserError(f"{entry} was recorded with {name}={was}, not {value}; {choose}")
    return int(number)


def _episode_name(index: int) -> str:
    return f"episode_{index:04d}"


def _record_episode(task: tuple[RecordConfig, int]) -> int:
    """Play and write one episode, in a worker process; returns its number of frames."""
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
    """Policy that plays episode `index`, seed of its console, and the generator for everything else."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, index]))
    policy = config.policy
    if policy == "mixed":
        tracked = rng.random() < _TRACKER_SHARE and _scripted_player(config) is not None
        policy = "tracker" if tracked else "random"
    return policy, int(rng.integers(2**31 - 1)), rng


def _play(
    config: RecordConfig, policy: str, seed: int, rng: np.random.Generator, folder: Path
) -> tuple[dict[str, Any], np.ndarray]:
    """Play an episode and write every frame; returns its metadata and the console's RAM (N, 128) by frame."""
    emulator = open_emulator(config, seed)
    actions = emulator.getMinimalActionSet()
    player = _scripted_player(config) if policy == "tracker" else None
    scripted = player(rng, config.frame_skip) if player else None
    random = _random_controls(rng, len(actions), config.frame_skip)
    controls, rewards = [], []
    lives, rams = [emulator.lives()], [emulator.getRAM().copy()]
    _write_frame(emulator, folder / "0.png")
    while len(rams) < config.max_frames and not emulator.game_over():
        control = scripted(rams[-1]) if scripted else next(random)
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


def _random_controls(rng: np.random.Generator, num_controls: int, frame_skip: int) -> Iterator[int]:
    """Any control, held for a random time."""
    while True:
        control = int(rng.integers(num_controls))
        for _ in range(max(1, int(rng.integers(4, 44)) // frame_skip)):
            yield control
