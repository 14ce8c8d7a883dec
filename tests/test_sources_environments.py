"""Recording of Gymnasium and Gym environments: controls, frames, policies, branches and errors."""

import copy
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.frames.ingest import IngestConfig, ingest
from ghostpad.sources.branches import Branches
from ghostpad.sources.environments import discrete_controls
from ghostpad.sources.recorder import RecordConfig, record

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces
_HERE = __name__
_LENGTH = 30


class Track(gymnasium.Env):
    """A player on a track of 30 pixels, moved by its control and by a random wind; it ends at the right."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    action_space, observation_space = spaces.Discrete(3), spaces.Discrete(_LENGTH)
    action_names = ("stay", "left", "right")
    shift = (0, -1, 1)

    def __init__(self, render_mode: str = "rgb_array") -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        super().reset(seed=seed)
        self.place = 10
        return self.place, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        wind = int(self.np_random.integers(-2, 3))
        self.place = int(np.clip(self.place + self.shift[action] + wind, 0, _LENGTH - 1))
        return self.place, float(self.place), self.place == _LENGTH - 1, False, {}

    def render(self) -> np.ndarray:
        frame = np.zeros((4, _LENGTH, 3), np.uint8)
        frame[:, self.place] = 255
        return frame


class GymTrack:
    """The same with the interface of Gym, without a frame at its end."""

    action_space = Track.action_space

    def __init__(self, seed: int) -> None:
        self._track, self._seed, self._done = Track(), seed, False

    def reset(self) -> int:
        return self._track.reset(seed=self._seed)[0]

    def step(self, action: int) -> tuple[int, float, bool, dict]:
        place, reward, self._done, _, info = self._track.step(action)
        return place, reward, self._done, info

    def render(self, mode: str = "human") -> np.ndarray | None:
        assert mode == "rgb_array"
        return None if self._done else self._track.render()


class SharedTrack(Track):
    """Its copies share one state, as those of a game behind a C library may."""

    def __deepcopy__(self, memo: dict) -> "SharedTrack":
        return self


class UncopiedTrack(Track):
    """It cannot be copied."""

    def __deepcopy__(self, memo: dict) -> "UncopiedTrack":
        raise TypeError("cannot pickle a game")


def track(seed: int) -> Track:
    return Track()


def shared_track(seed: int) -> Track:
    return SharedTrack()


def uncopied_track(seed: int) -> Track:
    return UncopiedTrack()


class HiddenTrack(Track):
    """It ends with its first step and shows nothing then, but for one seed in three."""

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        place, reward, *_ = super().step(action)
        self.hidden = self.seed % 3 > 0
        return place, reward, self.hidden, False, {}

    def render(self) -> np.ndarray | None:
        return None if getattr(self, "hidden", False) else super().render()


def hidden_track(seed: int) -> Track:
    hidden = HiddenTrack()
    hidden.seed = seed
    return hidden


def flat_track(seed: int) -> Track:
    flat = Track()
    flat.render = lambda: np.zeros((4, 4))
    return flat


def any_track(seed: int) -> Track:
    free = Track()
    free.action_space = spaces.Dict({})
    return free


def always_right(observation: int, rng: np.random.Generator) -> int:
    assert 0 <= observation < _LENGTH
    return 2


def impossible(observation: int, rng: np.random.Generator) -> int:
    return 3


@pytest.fixture
def config(tmp_path: Path) -> RecordConfig:
    env = f"{_HERE}:track"
    return RecordConfig(
        tmp_path / "a", env=env, episodes=3, max_frames=200, frame_skip=1, branches=6, workers=1
    )


def _metadata(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "episode.json").read_text())


def _frames(folder: Path) -> np.ndarray:
    count = len(list(folder.glob("*.png")))
    return np.stack([np.asarray(Image.open(folder / f"{number}.png")) for number in range(count)])


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_episode_holds_what_the_environment_did_until_its_end(config: RecordConfig) -> None:
    record(config)
    ends = 0
    for folder in sorted(config.out.iterdir()):
        metadata, frames = _metadata(folder), _frames(folder)
        places = frames[:, 0, :, 0].argmax(1)
        assert metadata["env"] == config.env
        assert metadata["control_names"] == ["stay", "left", "right"]
        assert metadata["rewards"] == places[1:].tolist()
        assert len(metadata["controls"]) == len(frames) - 1
        assert "lives" not in metadata
        assert "game" not in metadata
        moves = np.diff(places) - np.array(Track.shift)[metadata["controls"]]
        assert np.abs(moves[1:-1]).max() <= 2 or 0 in places
        ends += places[-1] == _LENGTH - 1
        assert len(frames) == config.max_frames or places[-1] == _LENGTH - 1
    assert ends


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    config: RecordConfig, tmp_path: Path
) -> None:
    record(config)
    record(dataclasses.replace(config, out=tmp_path / "b"))
    assert _bytes_of(tmp_path / "b") == _bytes_of(config.out)
    record(dataclasses.replace(config, out=tmp_path / "c", seed=1))
    assert _bytes_of(tmp_path / "c") != _bytes_of(config.out)


def test_a_second_run_completes_what_is_missing_and_refuses_another_environment(config: RecordConfig) -> None:
    record(dataclasses.replace(config, episodes=1))
    record(config)
    assert len(list(config.out.iterdir())) == 3
    with pytest.raises(UserError, match=f"recorded with env={_HERE}:track, not .*--out"):
        record(dataclasses.replace(config, env=f"{_HERE}:GymTrack"))
    with pytest.raises(UserError, match="recorded with branches=6, not 0"):
        record(dataclasses.replace(config, branches=0))


def test_frame_skip_repeats_the_step_and_a_policy_may_be_a_function(config: RecordConfig) -> None:
    policy = f"{_HERE}:always_right"
    record(dataclasses.replace(config, frame_skip=3, policy=policy, branches=0))
    for folder in config.out.iterdir():
        metadata, places = _metadata(folder), _frames(folder)[:, 0, :, 0].argmax(1)
        assert metadata["policy"] == policy
        assert set(metadata["controls"]) == {2}
        assert places[-1] == _LENGTH - 1
        assert len(places) < 30
    track = Track()
    track.reset(seed=int(np.random.default_rng(np.random.SeedSequence([0, 0])).integers(2**31 - 1)))
    rewards = [track.step(2)[1] for _ in range(3)]
    assert _metadata(config.out / "episode_0000")["rewards"][0] == sum(rewards)


def test_an_environment_may_be_registered_by_the_module_that_is_named(
    config: RecordConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registers_a_track.py").write_text(
        f"import gymnasium\ngymnasium.register('Track-v0', '{_HERE}:Track', max_episode_steps=7)\n"
    )
    monkeypatch.chdir(tmp_path)
    record(dataclasses.replace(config, env="registers_a_track:Track-v0"))
    record(dataclasses.replace(config, env="Track-v0", out=tmp_path / "b"))
    for out in (config.out, tmp_path / "b"):
        assert all(len(_metadata(folder)["controls"]) <= 7 for folder in out.iterdir())


def test_a_gym_environment_is_recorded_up_to_its_last_frame(config: RecordConfig, tmp_path: Path) -> None:
    record(config)
    record(dataclasses.replace(config, env=f"{_HERE}:GymTrack", out=tmp_path / "gym"))
    names = ["action_0", "action_1", "action_2"]
    for folder in sorted(config.out.iterdir()):
        frames, recorded = _frames(folder), tmp_path / "gym" / folder.name
        assert _metadata(recorded)["control_names"] == names
        ended = frames[-1, 0, -1, 0] == 255
        assert np.array_equal(_frames(recorded), frames[:-1] if ended else frames)


def test_an_episode_without_a_transition_is_played_again_with_another_seed(config: RecordConfig) -> None:
    record(dataclasses.replace(config, env=f"{_HERE}:hidden_track", max_frames=5, branches=2))
    for folder in config.out.iterdir():
        assert len(list(folder.glob("*.png"))) == 5
        assert len(Branches.load(folder / "branches.npz")) == 2


def test_branches_are_what_each_control_would_have_done(config: RecordConfig) -> None:
    record(config)
    for folder in config.out.iterdir():
        branches, frames = Branches.load(folder / "branches.npz"), _frames(folder)
        controls = np.array(_metadata(folder)["controls"])
        assert branches.next_frames.shape == (6, 3, *frames.shape[1:])
        # The wind is part of the state: it is the same under every control.
        recorded = branches.next_frames[np.arange(6), controls[branches.frame_index]]
        assert np.array_equal(recorded, frames[branches.frame_index + 1])
        stay, left, right = branches.next_frames[:, :, 0, :, 0].argmax(-1).T
        inside = (stay > 0) & (stay < _LENGTH - 1)
        assert inside.any()
        assert np.array_equal(left[inside], stay[inside] - 1)
        assert np.array_equal(right[inside], stay[inside] + 1)


def test_branches_are_drawn_evenly_from_the_whole_episode(config: RecordConfig) -> None:
    record(dataclasses.replace(config, episodes=30, max_frames=20, branches=4))
    drawn = [Branches.load(folder / "branches.npz").frame_index for folder in config.out.iterdir()]
    counts = np.bincount(np.concatenate(drawn), minlength=19)
    assert len(counts) == 19
    assert abs(counts[:9].mean() - counts[10:].mean()) < 3
    assert all(np.all(np.diff(index) > 0) for index in drawn)


def test_branches_reach_the_frame_store(config: RecordConfig) -> None:
    record(config)
    store = ingest(IngestConfig(config.out))
    for index, folder in enumerate(sorted(config.out.iterdir())):
        kept, recorded = store.branches(index), Branches.load(folder / "branches.npz")
        assert kept is not None
        assert np.array_equal(kept.next_frames, recorded.next_frames)
        assert np.array_equal(kept.frame_index, recorded.frame_index)
    path = store.episodes[0].files.with_suffix(".branches.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="ingest again"):
        store.branches(0)


@pytest.mark.parametrize(
    ("space", "actions", "names"),
    [
        (spaces.Discrete(2, start=3), [3, 4], ["action_3", "action_4"]),
        (spaces.MultiBinary(2), [[0, 0], [1, 0], [0, 1]], ["nothing", "input_0", "input_1"]),
        (
            spaces.MultiDiscrete([2, 3]),
            [[0, 0], [1, 0], [0, 1], [0, 2]],
            ["nothing", "input_0", "input_1_1", "input_1_2"],
        ),
        (
            spaces.Box(np.array([-1, 0], np.float32), np.array([1, 1], np.float32)),
            [[0, 0], [-1, 0], [1, 0], [0, 1]],
            ["nothing", "input_0_min", "input_0_max", "input_1_max"],
        ),
    ],
)
def test_every_button_and_axis_becomes_a_control(space: Any, actions: list, names: list[str]) -> None:
    env = Track()
    env.action_space, env.action_names = space, ()
    found, found_names = discrete_controls(env, "x")
    assert np.array_equal(found, actions)
    assert found_names == names
    assert all(space.contains(action) for action in found)


def test_controls_have_the_names_that_the_environment_offers() -> None:
    import enum
    from types import SimpleNamespace as Bag

    buttons = Bag(get_available_buttons=lambda: [Bag(name="FIRE"), Bag(name="TURN")])
    pressed = [np.array(row) for row in ([0, 0], [0, 1], [1, 1])]
    names = ["NOOP", "UP"]
    for env, expected in (
        (Bag(get_action_meanings=lambda: names, action_space=spaces.Discrete(2)), names),
        (Bag(actions=enum.Enum("Actions", names), action_space=spaces.Discrete(2)), names),
        (Bag(unwrapped=Bag(action_names=names), action_space=spaces.Discrete(2)), names),
        (Bag(action_names=names, action_space=spaces.Discrete(3)), ["action_0", "action_1", "action_2"]),
        (Bag(game=buttons, action_space=spaces.MultiBinary(2)), ["nothing", "FIRE", "TURN"]),
        (
            Bag(game=buttons, button_map=pressed, action_space=spaces.Discrete(3)),
            ["nothing", "TURN", "FIRE+TURN"],
        ),
    ):
        assert discrete_controls(env, "x")[1] == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"env": "NoSuchGame-v1"}, "--env NoSuchGame-v1: .*doesn't exist"),
        ({"env": "no_such_module:Game-v1"}, "cannot import no_such_module"),
        ({"env": f"{_HERE}:flat_track"}, "gives no RGB array"),
        ({"env": f"{_HERE}:any_track"}, "no discrete controls can be made"),
        ({"sticky": 0.5, "branches": 0}, "--sticky 0.5: only for Atari"),
        ({"game": "pong"}, "--game pong and --env"),
        ({"policy": "tracker"}, "has no scripted player"),
        ({"policy": f"{_HERE}:nothing"}, "has no function 'nothing'"),
        ({"policy": f"{_HERE}:impossible"}, "chose control 3; must be 0 to 2"),
        ({"env": f"{_HERE}:uncopied_track"}, r"cannot be copied \(cannot pickle a game\)"),
        ({"env": f"{_HERE}:shared_track"}, "does not continue like the original"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_one_line(
    config: RecordConfig, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words) as error:
        record(dataclasses.replace(config, **change))
    assert "\n" not in str(error.value)
    assert not list(config.out.glob("*"))


def test_too_many_controls_are_refused() -> None:
    env = copy.copy(Track())
    env.action_space = spaces.Discrete(129)
    with pytest.raises(UserError, match="129 controls; at most 128"):
        discrete_controls(env, "x")


def test_without_gymnasium_the_error_names_the_package_extra(
    config: RecordConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(UserError, match=r"ghostpad\[gymnasium\]"):
        record(dataclasses.replace(config, env="CartPole-v1"))
