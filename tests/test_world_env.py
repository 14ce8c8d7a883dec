"""The world as an environment: by Gymnasium's own checker, and games whose end is known."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ghostpad.buttons.control_map import ControlMap
from ghostpad.config import to_plain
from ghostpad.errors import UserError
from ghostpad.games.breakout.player import Tracker
from ghostpad.games.breakout.scoreboard import read_lives
from ghostpad.sources.atari import open_emulator
from ghostpad.training.checkpoint import write_checkpoint
from ghostpad.world.expectation import WorldState
from ghostpad.world.rollouts import Rollout
from ghostpad.world.starts import write_starts
from ghostpad.world.world_model import KIND
from known_models import breakout_picture
from small_world import small_world

pytest.importorskip("gymnasium")
import gymnasium
from gymnasium.utils.env_checker import check_env

from ghostpad.world.env import ENV_ID, WorldEnv, WorldVectorEnv

CONTROLS = ("NOOP", "FIRE", "RIGHT", "LEFT")
NUM_STARTS = 6


@pytest.fixture(scope="module")
def folder(store, tmp_path_factory):
    """A small world as `ghostpad world` leaves it, and a map of its three buttons."""
    folder = tmp_path_factory.mktemp("world")
    world = small_world(store)
    content = {"kind": KIND, "model_config": to_plain(world.config), "model": world.state_dict()}
    write_checkpoint(folder / "best.pt", content)
    write_starts(folder, store, world.history, NUM_STARTS)
    return folder


@pytest.fixture(scope="module")
def mapped(folder):
    ControlMap(CONTROLS, tuple(map(tuple, np.full((3, 4), 0.25))), (0, 0, 1, 2), 0).write(folder)
    yield folder
    (folder / "controls.json").unlink()


def test_gymnasium_finds_nothing_to_complain_about(folder, recwarn):
    env = gymnasium.make(ENV_ID, world=folder, render_mode="rgb_array")
    check_env(env.unwrapped, skip_render_check=False)
    complaints = [str(warning.message) for warning in recwarn]
    assert not [text for text in complaints if "spec.id" not in text and "WARN" in text], complaints
    assert env.observation_space.shape == (210, 160, 3)


def test_actions_are_controls_when_they_are_known_else_buttons(folder):
    assert WorldEnv(folder).get_action_meanings() == ["button 0", "button 1", "button 2"]


def test_controls_press_their_buttons(mapped):
    env = WorldEnv(mapped)
    assert env.get_action_meanings() == list(CONTROLS)
    assert env.action_space.n == 4
    shown = []
    for action in range(4):
        env.reset(options={"start": 1})
        for _ in range(3):
            shown.append(env.step(action)[0])
        shown[action:] = [shown[-1]]
    assert (shown[0] == shown[1]).all() and (shown[2] != shown[3]).any()


def test_a_seed_decides_everything(folder):
    def films(seed):
        env = WorldEnv(folder, temperature=1.0)
        first, info = env.reset(seed=seed)
        return info["start"], np.stack([first, *(env.step(1)[0] for _ in range(4))])

    (start, film), (again, same), (_, other) = films(3), films(3), films(4)
    assert start == again and (film == same).all()
    assert film.shape != other.shape or (film != other).any()


def test_starts_are_the_recorded_ones(folder, store):
    env = WorldEnv(folder)
    with np.load(folder / "starts.npz") as archive:
        newest = archive["palette"][archive["frames"]][:, -1]
    for start in range(NUM_STARTS):
        frame, info = env.reset(options={"start": start})
        assert info["start"] == start and (frame == newest[start]).all()
    assert {env.reset(seed=seed)[1]["start"] for seed in range(40)} == set(range(NUM_STARTS))
    with pytest.raises(UserError, match="must be from 0 to 5"):
        env.reset(options={"start": NUM_STARTS})


def test_episodes_end_where_they_must(folder):
    env = gymnasium.make(ENV_ID, world=folder, max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("mode", ["sync", "async", "vector_entry_point"])
def test_many_at_once_show_what_each_would_alone(folder, mode):
    torch.ones(2000, 2000).sum()  # the threads of this process are at work before any other is forked
    envs = gymnasium.make_vec(ENV_ID, 2, mode, world=folder)
    first, _ = envs.reset(seed=5, options={"start": 2})
    frames, rewards, *_ = envs.step(np.array([0, 2]))
    envs.close()
    alone = WorldEnv(folder)
    for number, action in enumerate((0, 2)):
        assert (alone.reset(options={"start": 2})[0] == first[number]).all()
        frame, reward, *_ = alone.step(action)
        assert (frame == frames[number]).all() and reward == rewards[number]


def test_the_batch_restarts_after_each_end(folder):
    envs = WorldVectorEnv(2, folder, max_episode_steps=2)
    envs.reset(seed=1, options={"start": [0, 3]})
    actions = np.zeros(2, int)
    envs.step(actions)
    assert envs.step(actions)[3].all()
    frames, rewards, terminated, truncated, _ = envs.step(actions)
    assert not rewards.any() and not terminated.any() and not truncated.any()
    recorded = envs.rollout.start_frames[:, -1]
    assert all(any((frame == start).all() for start in recorded) for frame in frames)
    assert not envs.step(actions)[3].any() and envs.step(actions)[3].all()


class Film:
    """A world that shows a film, whatever is pressed."""

    num_buttons, num_channels, height, width, device = 4, 3, 210, 160, torch.device("cpu")

    def __init__(self, folder, film):
        self.folder, self.film, self.shown = folder, film, 0

    def start(self, frames):
        return WorldState(frames.transpose(0, 1, 4, 2, 3))

    def step(self, state, buttons, temperature, generator):
        self.shown += 1
        frame = self.film[self.shown].transpose(2, 0, 1)
        return WorldState(np.broadcast_to(frame, (len(state), 2, *frame.shape))), None


def stepped(rollout, controls):
    rollout.step(controls)
    return rollout.points, rollout.over


@pytest.fixture(scope="module")
def lost_game():
    """A real game to its end: frames, points of each, lives after each."""
    pytest.importorskip("ale_py")
    emulator = open_emulator("breakout", 0)
    actions = emulator.getMinimalActionSet()
    play = Tracker(np.random.default_rng(0), 4)
    frames, points, lives = [emulator.getScreenRGB()], [0], [emulator.lives()]
    while not emulator.game_over():
        points.append(emulator.act(actions[play(emulator.getRAM())]))
        frames.append(emulator.getScreenRGB())
        lives.append(emulator.lives())
    return SimpleNamespace(frames=np.stack(frames), points=np.array(points), lives=np.array(lives))


def test_lives_are_read_from_the_display(lost_game):
    shown = read_lives(lost_game.frames.transpose(0, 3, 1, 2))
    late = shown[1:] == lost_game.lives[:-1]
    assert (late | (shown[1:] == lost_game.lives[1:])).all() and set(shown.tolist()) == {1, 2, 3, 4, 5}
    assert read_lives(np.zeros((1, 1, 210, 160), np.uint8)) == -1


def test_points_and_lives_are_those_of_the_game(lost_game, tmp_path):
    np.savez(tmp_path / "starts.npz", frames=lost_game.frames[None, :2])
    rollout = Rollout.from_world(Film(tmp_path, lost_game.frames), 2)
    rollout.restart(np.arange(2), np.zeros(2, int))
    points, ends = zip(*(stepped(rollout, np.zeros(2, int)) for _ in lost_game.frames[1:]), strict=True)
    assert set(lost_game.points.tolist()) == {0, 1, 4}
    assert (np.stack(points) == lost_game.points[1:, None]).all()
    # A ball is known to be lost a little before the game counts it.
    (ended,) = {int(end) for end in np.stack(ends).argmax(0)}
    assert len(lost_game.frames) - 6 <= ended + 1 < len(lost_game.frames)
    assert (rollout.scoreboard.lives == 0).all() and np.stack(ends).sum() == 2


@pytest.mark.parametrize(("row", "worth"), list(enumerate((7, 7, 4, 4, 1, 1))))
def test_bricks_pay_by_their_row(tmp_path, row, worth):
    before, after = breakout_picture(), breakout_picture(gone=[(row, 3), (row, 9)])
    film = np.concatenate([before, before, after]).transpose(0, 2, 3, 1).repeat(3, 3)
    np.savez(tmp_path / "starts.npz", frames=film[None, :2])
    rollout = Rollout.from_world(Film(tmp_path, film), 1)
    rollout.world.num_channels = 1
    rollout.restart(np.zeros(1, int), np.zeros(1, int))
    assert [stepped(rollout, np.zeros(1, int))[0].item() for _ in film[1:]] == [0, 2 * worth]


def test_the_step_that_restarts_pays_nothing(tmp_path, monkeypatch):
    walls = [breakout_picture(gone=[(5, column) for column in range(num)]) for num in (0, 0, 1, 2, 3)]
    film = np.concatenate(walls).transpose(0, 2, 3, 1).repeat(3, 3)
    np.savez(tmp_path / "starts.npz", frames=film[None, :2])
    world = Film(tmp_path, film)
    world.num_channels, world.shown = 1, 1
    monkeypatch.setattr("ghostpad.world.env.WorldModel.from_pretrained", lambda *_: world)
    envs = WorldVectorEnv(2, max_episode_steps=2)
    envs.reset()
    results = [envs.step(np.zeros(2, int)) for _ in range(3)]
    assert [reward.tolist() for _, reward, *_ in results] == [[1, 1], [1, 1], [0, 0]]
    assert [truncated.all() for _, _, _, truncated, _ in results] == [False, True, False]


def test_a_brick_that_reappears_pays_once(lost_game, tmp_path):
    broken = int(lost_game.points.argmax())
    film = np.concatenate([lost_game.frames[broken - 1 : broken + 1]] * 3)
    np.savez(tmp_path / "starts.npz", frames=film[None, :2])
    rollout = Rollout.from_world(Film(tmp_path, film), 1)
    rollout.restart(np.zeros(1, int), np.zeros(1, int))
    rollout.world.shown = 1
    assert sum(stepped(rollout, np.zeros(1, int))[0][0] for _ in range(4)) == 0


def test_other_games_have_no_points(tmp_path):
    film = np.full((5, 210, 160, 3), 30, np.uint8)
    np.savez(tmp_path / "starts.npz", frames=film[None, :2])
    rollout = Rollout.from_world(Film(tmp_path, film), 1)
    rollout.restart(np.zeros(1, int), np.zeros(1, int))
    assert rollout.scoreboard is None
    assert stepped(rollout, np.zeros(1, int)) == (np.zeros(1), np.zeros(1, bool))


def test_without_gymnasium_one_line_says_what_to_install(tmp_path):
    program = "import sys; sys.modules['gymnasium'] = None; import ghostpad.world.env"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    message = 'the environment needs gymnasium; install it with: pip install "ghostpad[atari]"'
    assert run.stderr.splitlines()[-1] == f"ghostpad.errors.UserError: {message}"


def test_a_world_without_starts_is_named(folder, tmp_path):
    (tmp_path / "best.pt").write_bytes((folder / "best.pt").read_bytes())
    with pytest.raises(UserError, match=r"starts\.npz: no such file"):
        WorldEnv(tmp_path)
