"""One player's game through the WebSocket: what is asked for is what is shown."""

import time
import types

import numpy as np
import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from ghostpad.buttons.control_map import noop_control
from ghostpad.play.game import RECORDED, PixelFormat, keys_for
from play_server import BREAKOUT, Player, served_world, serving, without_names
from small_world import small_world

NOOP, FIRE, RIGHT, LEFT = range(4)


@pytest.fixture(scope="module")
def world(store):
    return small_world(store)


@pytest.fixture(scope="module")
def port(world, store):
    with serving(served_world(world, store, max_players=4)) as port:
        yield port


@pytest.fixture
def player(port):
    with Player(port) as player:
        yield player


def recorded(store, episode, frame):
    return store.read(episode, [frame], grayscale=False)[0].transpose(1, 2, 0)


def begun_at(world, store, episode, frame):
    return world.start(store.read(episode, range(frame + 1 - world.history, frame + 1), grayscale=False))


def test_it_begins_with_the_recorded_frame_on_both_sides(player, store):
    first = player.frame()
    assert (first.number, first.button, first.control) == (1, RECORDED, RECORDED)
    assert (first.picture == recorded(store, 0, 0)).all()
    colors = np.array(player.said[0]["colors"], np.uint8)
    size = player.said[0]["height"], player.said[0]["width"]
    assert (colors[first.real].reshape(*size, 3) == recorded(store, 0, 0)).all()


def test_frames_are_those_of_the_world_under_the_same_buttons(player, world, store):
    player.reset(1, 20)
    state = begun_at(world, store, 1, 20)
    for control in (RIGHT, RIGHT, NOOP, LEFT, NOOP):
        player.press(control=control)
        shown = player.step()
        state, codes = world.step(state, BREAKOUT.to_button(control))
        assert (shown.button, shown.control) == (BREAKOUT.to_button(control), control)
        assert (shown.picture == state.pictures[0]).all()
        assert (shown.codes == codes[0].numpy()).all()


def test_the_emulator_continues_from_there_under_the_same_keys(player, store):
    episode, frame = 2, 15
    player.reset(episode, frame)
    for at in range(frame, frame + 12):
        player.press(control=int(store.controls(episode)[at]))
        shown = player.step()
        colors = np.array([m for m in player.said if m["type"] == "real"][-1]["colors"], np.uint8)
        assert (colors[shown.real].reshape(210, 160, 3) == recorded(store, episode, at + 1)).all()


def test_a_button_can_be_held_by_itself(player):
    player.press(button=2)
    shown = player.frame_that_heard(1)
    assert (shown.button, shown.control) == (2, LEFT)


def test_a_key_is_held_until_it_is_let_go(player):
    player.press(control=RIGHT)
    player.frame_that_heard(1)
    assert [player.frame().control for _ in range(5)] == [RIGHT] * 5
    player.press(control=NOOP)
    player.frame_that_heard(2)
    assert [player.frame().control for _ in range(5)] == [NOOP] * 5


def test_a_tap_between_two_frames_is_not_lost(player):
    player.reset(0, 10)
    player.press(control=FIRE)
    player.press(control=NOOP)
    assert [player.step().control for _ in range(3)] == [FIRE, NOOP, NOOP]


def test_a_paused_game_sends_single_steps_alone(player):
    before = player.reset(0, 10)
    with pytest.raises(TimeoutError):
        player.frame(timeout=0.3)
    assert player.step().number == before.number + 1
    with pytest.raises(TimeoutError):
        player.frame(timeout=0.3)
    player.send(type="pause", paused=False)
    assert [player.frame().number - before.number for _ in range(3)] == [2, 3, 4]


def test_the_likeliest_codes_or_drawn_ones(player, world, store):
    state = begun_at(world, store, 0, 12)
    likeliest = world.step(state, 0)[1][0].numpy()
    drawn = []
    for temperature in (0, 2, 2, 0):
        player.reset(0, 12)
        player.send(type="temperature", value=temperature)
        drawn.append(player.step().codes)
    assert (drawn[0] == likeliest).all()
    assert (drawn[3] == likeliest).all()
    assert (drawn[1] != likeliest).any()
    assert (drawn[1] != drawn[2]).any()


def test_a_control_without_a_button_of_its_own_is_left_to_chance(player, world, store):
    assert [control["chance"] for control in player.welcome["controls"]] == [False, True, False, False]
    drawn = []
    for control in (NOOP, FIRE, FIRE, NOOP):
        player.reset(0, 12)
        player.press(control=control)
        drawn.append(player.step().codes)
    assert (drawn[0] == drawn[3]).all()
    assert (drawn[1] != drawn[0]).any()
    assert (drawn[1] != drawn[2]).any()


def test_every_recorded_frame_can_be_begun_from(player, store):
    assert [e["frames"] for e in player.welcome["episodes"]] == [e.num_frames for e in store.episodes]
    for episode, frame in ((3, 39), (1, 0), (0, 1)):
        assert (player.reset(episode, frame).picture == recorded(store, episode, frame)).all()


@pytest.mark.parametrize("place", [(4, 0), (0, 40), (2**31, 2**31)])
def test_a_start_frame_out_of_range_is_refused_and_the_game_continues(player, place):
    before = player.frame()
    player.send(type="reset", episode=place[0], frame=place[1])
    while not (refusals := [m for m in player.said if m["type"] == "refused"]):
        after = player.frame()
    assert refusals[0]["reason"] == f"there is no frame {place[1]} in episode {place[0]}"
    assert player.frame().number > before.number
    assert after.button != RECORDED


def test_the_speed_is_what_was_asked_for(player):
    player.send(type="speed", fps=5)
    for _ in range(4):
        player.frame()  # those that were on their way
    began = time.monotonic()
    for _ in range(5):
        player.frame()
    assert 0.75 < time.monotonic() - began < 3


def test_a_gray_world_is_played_in_gray(store):
    world = small_world(store, grayscale=True)
    with serving(served_world(world, store)) as port, Player(port) as player:
        assert (player.welcome["channels"], len(player.welcome["colors"])) == (1, 256)
        first = player.reset(1, 20)
        assert (first.picture == store.read(1, [20], grayscale=True)[0].transpose(1, 2, 0)).all()
        state = world.start(store.read(1, [19, 20], grayscale=True))
        assert (player.step().picture == world.step(state, 0)[0].pictures[0]).all()


def test_pictures_over_a_palette_travel_as_indices(store):
    model = types.SimpleNamespace(
        predicts_palette=True, palette_PC=torch.tensor(store.palette.tolist(), dtype=torch.float32) / 255
    )
    pixels = PixelFormat(types.SimpleNamespace(grayscale=False, latent_action_model=model))
    picture = recorded(store, 1, 30)
    packed = np.frombuffer(pixels.pack(picture), np.uint8).reshape(210, 160)
    assert (pixels.colors[packed] == picture).all()
    with pytest.raises(ValueError, match="never seen"):
        pixels.pack(picture + np.uint8(1))


def test_without_names_each_button_is_a_control_and_without_a_way_back_there_is_no_real_game(world, store):
    served = without_names(served_world(world, store, no_emulator="no reason"))
    with serving(served) as port, Player(port) as player:
        assert [control["name"] for control in player.welcome["controls"]] == [
            "button 0",
            "button 1",
            "button 2",
        ]
        assert not player.welcome["named"]
        player.press(control=2)
        shown = player.frame_that_heard(1)
        assert (shown.button, shown.control) == (2, 2)
        assert shown.real is None


@pytest.mark.parametrize("named", [True, False])
def test_buttons_that_training_dropped_are_not_there(store, named):
    world = small_world(store)
    world.dynamics.active[1] = False
    served = served_world(world, store)
    with serving(served if named else without_names(served)) as port, Player(port) as player:
        assert player.welcome["buttons"] == [0, 2]
        player.press(button=2)
        assert player.frame_that_heard(1).button == 2
        if not named:
            assert [control["name"] for control in player.welcome["controls"]] == ["button 0", "button 2"]
            player.press(control=1)
            assert player.frame_that_heard(2).button == 2
        player.press(button=1)
        assert player.closed() == (1008, "there is no button 1")


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("NOOP", ""),
        ("RIGHT", "right"),
        ("UPLEFTFIRE", "up left fire"),
        ("paddle left", "left"),
        ("paddle still", ""),
    ],
)
def test_keys_are_read_off_names(name, held):
    assert keys_for(name) == set(held.split())


def test_the_resting_control_is_the_one_that_says_so():
    assert noop_control(("paddle left", "paddle still", "paddle right")) == 1
    assert noop_control(("button 0", "button 1")) == 0
