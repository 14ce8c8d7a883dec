"""Going back to a recorded frame: the emulator is where it was, and says when it cannot be."""

import json
import shutil

import numpy as np
import pytest

from ghostpad.errors import UserError
from ghostpad.frames.replay import can_replay, replay
from ghostpad.frames.store import FrameStore


@pytest.fixture
def own_store(store, tmp_path):
    """A copy of `store` to change."""
    shutil.copytree(store.path, tmp_path / "copy.store")
    return FrameStore.open(tmp_path / "copy.store")


@pytest.mark.parametrize("episode", [0, 3])
def test_the_emulator_continues_as_it_was_recorded(store, episode):
    emulator = replay(store, episode, 12)
    actions = emulator.getMinimalActionSet()
    for frame in range(12, 30):
        emulator.act(actions[store.controls(episode)[frame]])
        recorded = store.read(episode, np.array([frame + 1]), grayscale=False)[0].transpose(1, 2, 0)
        assert (emulator.getScreenRGB() == recorded).all()


def test_other_controls_end_in_another_picture(own_store):
    episode = own_store.episodes[0]
    lies = episode.metadata | {"controls": [3] * 39}
    episode.files.with_suffix(".json").write_text(json.dumps(lies))
    with pytest.raises(UserError, match="episode_0000 differs from its replay at frame 30"):
        replay(FrameStore.open(own_store.path), 0, 30)


def test_recordings_of_others_cannot_be_played_again(own_store):
    assert can_replay(own_store, 0)
    foreign = FrameStore.open(own_store.path)
    foreign.episodes[0].files.with_suffix(".json").unlink()
    assert not can_replay(foreign, 0)
    with pytest.raises(UserError, match="episode_0000 was not recorded by 'ghostpad record'"):
        replay(foreign, 0, 3)
