"""Record episodes of a game as folders of PNG frames: `ghostpad record`.

A player holds controls, an `Emulator` (an Atari game or a Gymnasium environment) answers with frames, and
every episode is written as `0.png, 1.png, …` with `episode.json` beside them. The same command completes an
interrupted recording.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.games import ScriptedPlayer, game_named
from ghostpad.io import read_json, whole_folder, write_json
from ghostpad.locking import writing
from ghostpad.machine import num_cores
from ghostpad.progress import progress
from ghostpad.sources.atari import AtariEmulator, rom_path
from ghostpad.sources.branch_sampler import BranchSampler
from ghostpad.sources.emulator import Emulator
from ghostpad.sources.environments import EnvironmentEmulator, load_entry_point
from ghostpad.workers import map_in_order

_TRACKER_SHARE = 0.6  # share of the episodes of a mixed recording that a scripted player plays
_POLICIES = ("mixed", "random", "tracker")
_FRAME_SKIP = 4  # the default, for which the times that random players hold a control are meant
_ATTEMPTS = 100  # seeds to try for an episode of at least two frames


@dataclass(frozen=True)
class RecordConfig:
    """What to record, how much of it, and where."""

    out: Path = Path("bulk_videos")
    """folder for the episodes; a recording that was interrupted there is completed"""
    game: str = "breakout"
    """ROM name of the Arcade Learning Environment: breakout, pong, space_invaders, …"""
    env: str | None = None
    """instead of --game, a Gymnasium environment: ID, MODULE:ID, or MODULE:FUNCTION that takes a seed"""
    episodes: int = 40
    """number of episodes"""
    max_frames: int = 1000
    """most frames (PNG files) per episode; an episode also ends with its game"""
    frame_skip: int = _FRAME_SKIP
    """console frames or environment steps per recorded frame; the control is held during all of them"""
    sticky: float = 0.0
    """probability (0 to 1) that the console repeats the previous control instead of the new one"""
    policy: str = "mixed"
    """random (held for random times), tracker (the game's scripted player), mixed, or MODULE:FUNCTION"""
    branches: int = 0
    """frames per episode, drawn at random, whose next frame under every control is stored too"""
    seed: int = 0
    """seed of all randomness: the same seed gives the same bytes"""
    workers: int | None = None
    """processes that record at once; all cores when not given"""


def record(config: RecordConfig) -> None:
    """Record `config.episodes` episodes below `config.out`; those already recorded are kept.

    Raises:
        UserError: a package, game, environment or policy is missing, a number is out of range, the
            environment does not fit, or the folder holds something else.
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
    for name, low in (("episodes", 1), ("max_frames", 2), ("frame_skip", 1), ("branches", 0), ("seed", 0)):
        if getattr(config, name) < low:
            raise UserError(f"--{name.replace('_', '-')} {getattr(config, name)}: must be at least {low}")
    if not 0 <= config.sticky < 1:
        raise UserError(f"--sticky {config.sticky}: must be at least 0 and less than 1")
    if config.branches and config.sticky:
        raise UserError(
            "--branches needs --sticky 0: a saved console state lacks the control that may repeat"
        )
    if config.policy not in _POLICIES and ":" not in config.policy:
        raise UserError(f"--policy {config.policy}: must be {', '.join(_POLICIES)} or module:function")
    if config.policy == "tracker" and _scripted_player(config) is None:
        game = config.env or config.game
        raise UserError(f"--policy tracker: {game} has no scripted player; use --policy random")
    if config.policy not in _POLICIES:
        load_entry_point(config.policy, f"--policy {config.policy}")
    if config.env is None:
        rom_path(config.game)
        return
    if config.game != RecordConfig.game:
        raise UserError(f"--game {config.game} and --env {config.env}: give one of them")
    if config.sticky:
        raise UserError(f"--sticky {config.sticky}: only for Atari games (--game); leave it out with --env")
    EnvironmentEmulator(config.env, config.seed, config.frame_skip).close()


def _scripted_player(config: RecordConfig) -> type[ScriptedPlayer] | None:
    game = game_named(config.game) if config.env is None else None
    return game.scripted_player if game else None


def _identity(config: RecordConfig) -> dict[str, Any]:
    """The options that determine the bytes of an episode, apart from its index."""
    names = ("game", "frame_skip", "sticky") if config.env is None else ("env", "frame_skip")
    identity = {name: getattr(config, name) for name in (*names, "seed", "policy", "max_frames")}
    return identity | ({"branches": config.branches} if config.branches else {})


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
        metadata = {"branches": 0} | read_json(entry / "episode.json")
    except (OSError, ValueError, TypeError):
        raise UserError(f"{entry} was not recorded by ghostpad; {choose}") from None
    for name, value in ({"branches": 0} | _identity(config)).items():
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
        for attempt in range(_ATTEMPTS):
            emulator = _open(config, seed + attempt)
            sampler = BranchSampler(config.branches, np.random.default_rng([config.seed, index, 1]))
            metadata, memory = _play(config, policy, emulator, rng, sampler, folder)
            if metadata["controls"]:
                break
        else:
            raise UserError(f"--env {config.env}: {_ATTEMPTS} episodes in a row end with their first frame")
        game = game_named(config.game) if config.env is None else None
        if game and (truth := game.truth_from_ram(np.stack(memory))):
            np.savez(folder / "truth.npz", **truth)  # type: ignore[arg-type]
        if config.branches:
            sampler.branches(emulator, metadata["controls"], folder).save(folder / "branches.npz")
        write_json(folder / "episode.json", metadata)
    emulator.close()
    return len(metadata["controls"]) + 1


def _open(config: RecordConfig, seed: int) -> Emulator:
    if config.env is None:
        return AtariEmulator(config.game, seed, config.frame_skip, config.sticky)
    return EnvironmentEmulator(config.env, seed, config.frame_skip)


def draw_player(config: RecordConfig, index: int) -> tuple[str, int, np.random.Generator]:
    """Policy that plays episode `index`, seed of its game, and the generator for everything else."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, index]))
    policy = config.policy
    if policy == "mixed":
        tracked = rng.random() < _TRACKER_SHARE and _scripted_player(config) is not None
        policy = "tracker" if tracked else "random"
    return policy, int(rng.integers(2**31 - 1)), rng


def _play(
    config: RecordConfig,
    policy: str,
    emulator: Emulator,
    rng: np.random.Generator,
    sampler: BranchSampler,
    folder: Path,
) -> tuple[dict[str, Any], list[Any]]:
    """Play an episode and write every frame; returns its metadata and the console's memory by frame."""
    choose = _player(config, policy, emulator, rng)
    controls, rewards = [], []
    lives, memory = [emulator.lives], [emulator.memory]
    _write_frame(emulator.frame(), folder / "0.png")
    while len(lives) < config.max_frames and not emulator.is_over:
        control = choose()
        sampler.offer(len(controls), emulator)
        reward = emulator.step(control)
        frame = emulator.frame()
        if frame is None:
            break
        _write_frame(frame, folder / f"{len(lives)}.png")
        rewards.append(reward)
        controls.append(control)
        lives.append(emulator.lives)
        memory.append(emulator.memory)
    metadata = _identity(config) | {
        "policy": policy,
        "recorded_policy": config.policy,
        "control_names": emulator.control_names,
        "controls": controls,
        "rewards": rewards,
    }
    if lives[0] is not None:
        metadata["lives"] = lives
    return metadata, memory


def _write_frame(frame: np.ndarray | None, path: Path) -> None:
    assert frame is not None
    Image.fromarray(frame).save(path, compress_level=1)


def _player(
    config: RecordConfig, policy: str, emulator: Emulator, rng: np.random.Generator
) -> Callable[[], int]:
    """The function that chooses the next control."""
    num_controls, scripted = len(emulator.control_names), _scripted_player(config)
    if policy == "tracker" and scripted is not None:
        player = scripted(rng, config.frame_skip)
        return lambda: player(emulator.memory)  # type: ignore[arg-type]
    if policy == "random":
        random = _random_controls(rng, num_controls, _FRAME_SKIP if config.env else config.frame_skip)
        return lambda: next(random)
    function = load_entry_point(policy, f"--policy {policy}")

    def choose() -> int:
        control = int(function(emulator.observation, rng))
        if not 0 <= control < num_controls:
            raise UserError(f"--policy {policy}: chose control {control}; must be 0 to {num_controls - 1}")
        return control

    return choose


def _random_controls(rng: np.random.Generator, num_controls: int, frame_skip: int) -> Iterator[int]:
    """Any control, held for a random time."""
    while True:
        control = int(rng.integers(num_controls))
        for _ in range(max(1, int(rng.integers(4, 44)) // frame_skip)):
            yield control
