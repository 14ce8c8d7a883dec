"""Films of a world beside the emulator: what they show, and that nothing of it is lost in the file."""

import dataclasses

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from ghostpad.errors import UserError
from ghostpad.evaluation.rollouts.film import draw_film, film_rollout, write_film, write_rollout_film
from ghostpad.evaluation.rollouts.open_loop import OpenLoopStep, draw_starts
from known_worlds import CONTROLS, SAME, KnownWorld
from small_world import small_world

pytest.importorskip("ale_py")
CAPTION, GAP = 24, 8


def inverted(pictures, step):
    return 255 - pictures


@pytest.fixture(scope="module")
def rollout(store) -> list[OpenLoopStep]:
    world = KnownWorld(store, [], inverted)
    world.starts = draw_starts(world, store, 1, seed=3)
    return film_rollout(world, SAME, store, world.starts[0], 20, seed=3)


def frames_of(steps, which):
    return np.stack([getattr(step, which)[0].transpose(1, 2, 0) for step in steps])


def test_steps_hold_the_frames_of_the_world_and_the_emulator(rollout):
    imagined, true = frames_of(rollout, "imagined"), frames_of(rollout, "true")
    assert imagined.shape == true.shape == (21, 210, 160, 3)
    assert (imagined[0] == true[0]).all() and (imagined[1:] == 255 - true[1:]).all()
    controls, buttons = (
        [int(getattr(step, name)[0]) for step in rollout] for name in ("controls", "buttons")
    )
    assert controls[0] == buttons[0] == -1
    assert controls[1:] == buttons[1:] and len(set(controls)) > 2


def test_a_gray_world_is_beside_a_gray_emulator(store):
    world = KnownWorld(store, [], grayscale=True)
    world.starts = draw_starts(world, store, 1, seed=3)
    gray = film_rollout(world, SAME, store, world.starts[0], 3, seed=3)
    assert (frames_of(gray, "imagined") == frames_of(gray, "true")).all()
    film = draw_film(gray, CONTROLS)
    assert film.shape[-1] == 3 and (film == film[..., :1]).all()


def test_the_film_ends_with_the_game(store, monkeypatch):
    world = KnownWorld(store, [])
    world.starts = draw_starts(world, store, 1, seed=0)
    start = world.starts[0]
    monkeypatch.setattr(
        "ghostpad.games.breakout.player.Tracker.__call__", lambda self, ram: int(ram[101] == 0)
    )
    rollout = film_rollout(world, SAME, store, start, 400, seed=0)
    assert 100 < len(rollout) < 400


def test_pictures_are_twice_as_large_and_crisp(rollout):
    film, imagined, true = (
        draw_film(rollout, CONTROLS),
        frames_of(rollout, "imagined"),
        frames_of(rollout, "true"),
    )
    assert film.shape == (21, CAPTION + 420, 640 + GAP, 3)
    assert (film[:, CAPTION::2, :320:2] == imagined).all()
    assert (film[:, CAPTION + 1 :: 2, 1:320:2] == imagined).all()
    assert (film[:, CAPTION::2, 320 + GAP :: 2] == true).all()


def test_the_caption_says_step_control_and_button(rollout):
    other = [dataclasses.replace(step, buttons=step.buttons + 1) for step in rollout]
    caption, changed = (draw_film(steps, CONTROLS)[:, :CAPTION] for steps in (rollout, other))
    assert (caption[1:] != changed[1:]).any((1, 2, 3)).all() and (caption[0] == changed[0]).all()
    assert (caption[:-1] != caption[1:]).any((1, 2, 3)).all()
    named = draw_film(rollout, ("A", "B", "C", "D"))
    assert (named[1:, :CAPTION] != caption[1:]).any((1, 2, 3)).all()


def test_a_gif_loses_nothing(rollout, tmp_path):
    film = draw_film(rollout, CONTROLS)
    write_film(tmp_path / "film.gif", film)
    with Image.open(tmp_path / "film.gif") as gif:
        shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert (np.stack(shown) == film).all()


def test_an_mp4_loses_next_to_nothing(rollout, tmp_path):
    film = draw_film(rollout, CONTROLS)
    write_film(tmp_path / "film.mp4", film)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"  # what every player and browser shows
        shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    pictures = np.abs(shown.astype(int) - film)[:, CAPTION:]
    assert pictures.mean() < 2 and np.quantile(pictures, 0.99) <= 12


@pytest.mark.parametrize("name", ["a.gif", "b.mp4"])
def test_a_real_world_is_filmed_from_a_held_out_start(store, tmp_path, name):
    world = small_world(store)
    three = type(SAME)(CONTROLS, SAME.control_given_button[:3], (0, 0, 1, 2), 0)
    rollout = write_rollout_film(world, three, store, tmp_path / name, num_frames=4, seed=0)
    assert (tmp_path / name).stat().st_size > 1000
    assert frames_of(rollout, "imagined").shape == (5, 210, 160, 3)
    assert max(int(step.buttons[0]) for step in rollout[1:]) <= 2


def test_other_endings_are_refused_before_anything_is_done(store, tmp_path):
    with pytest.raises(UserError, match=r"film\.avi: the name of a film must end in \.gif or \.mp4"):
        write_rollout_film(small_world(store), SAME, store, tmp_path / "film.avi")
    assert not list(tmp_path.iterdir())
