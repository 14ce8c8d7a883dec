"""Policies that imitate: what they learn, which controls they press, and real Breakout under their hands."""

import numpy as np
import pytest
import torch

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.frames.ingest import open_data
from ghostpad.frames.pairs import Transitions
from ghostpad.games.breakout.player import Tracker
from imitate_breakout import (
    Examples,
    Moves,
    Policy,
    control_examples,
    controls_behind,
    imitate,
    play_game,
    sampled,
)
from recordings import write_pngs

MOVES = ((0.9, 0.04, 0.03, 0.03), (0.1, 0.0, 0.9, 0.0), (0.1, 0.0, 0.0, 0.9))


def test_each_weight_learns():
    torch.manual_seed(0)
    policy = Policy(2, 3, (210, 160)).train()
    clips = torch.randint(0, 256, (4, 2, 1, 210, 160), dtype=torch.uint8)
    loss, metrics = policy(Moves(clips, torch.eye(3)[[0, 1, 2, 0]]))
    loss.backward()
    assert set(metrics) == {"loss", "reconstruction", "accuracy"}
    for name, weight in policy.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_the_loss_is_the_cross_entropy_with_soft_buttons():
    policy = Policy(1, 3, (64, 48)).eval()
    clips = torch.randint(0, 256, (5, 1, 1, 64, 48), dtype=torch.uint8)
    shares = torch.rand(5, 3).softmax(1)
    logs = np.log(policy.probabilities(clips.numpy()))
    expected = -(shares.numpy() * logs).sum(1).mean()
    assert float(policy(Moves(clips, shares))[0].detach()) == pytest.approx(float(expected), rel=1e-4)


def test_examples_show_the_frames_before_the_control(store):
    examples = control_examples(store, "train", 4)
    transitions = examples.transitions
    row = 45
    batch = examples.batch(np.array([row, 0]), history=3)
    episode, frame = int(transitions.episode_index[row]), int(transitions.frame_index[row])
    frames = store.read(episode, np.arange(frame - 2, frame + 1), grayscale=True)
    assert (batch.clips[0].numpy() == frames).all()
    assert (batch.clips[1].numpy() == store.read(int(transitions.episode_index[0]), [0, 0, 0], True)).all()
    assert int(batch.shares[0].argmax()) == store.controls(episode)[frame]


def test_a_policy_learns_what_a_frame_tells(tmp_path):
    # A bar stands on the left or on the right.
    sides = np.random.default_rng(0).integers(0, 2, (3, 40))
    videos = {f"e{n}": [np.zeros((32, 48, 3), np.uint8) for _ in range(40)] for n in range(3)}
    for frames, bars in zip(videos.values(), sides, strict=True):
        for frame, side in zip(frames, bars, strict=True):
            frame[20:24, 8 + 24 * side : 16 + 24 * side] = 200
    bars = open_data(write_pngs(tmp_path / "videos", videos))
    parts = []
    for split in ("train", "validation"):
        transitions = Transitions(bars, split)
        where = sides[transitions.episode_index, transitions.frame_index]
        parts.append(Examples(transitions, np.eye(2)[where]))
    policy = imitate(*parts, tmp_path / "run", steps=40, history=1, seed=0)
    batch = parts[1].batch(np.arange(len(parts[1].transitions)), 1)
    right = policy.probabilities(batch.clips.numpy()).argmax(1) == batch.shares.numpy().argmax(1)
    assert right.all()
    again = imitate(*parts, tmp_path / "run", steps=40, history=1, seed=0)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, policy.state_dict()[name]), name
    with pytest.raises(UserError, match="--steps"):
        imitate(*parts, tmp_path / "run", steps=50, history=1, seed=0)


def test_controls_are_found_behind_buttons_that_are_mixed_up():
    found = ControlMap(("NOOP", "FIRE", "RIGHT", "LEFT"), MOVES, (0, 0, 1, 2), 200)
    used = np.array([0.5, 0.25, 0.25])
    looks = used[:, None] * np.array(MOVES) @ [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    looks /= looks.sum(0)  # P(button | stay, right, left)
    meant = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.2, 0.3], [0, 0.7, 0.3]])
    behind = controls_behind(found, used)(meant @ looks.T)
    assert behind.sum(1) == pytest.approx(1)
    assert behind[:, 0] == pytest.approx(behind[:, 1])  # NOOP and FIRE alike
    directions = np.stack([behind[:, 0] + behind[:, 1], behind[:, 2], behind[:, 3]], 1)
    assert directions == pytest.approx(meant, abs=0.03)


def test_outputs_are_drawn_as_likely_as_they_are():
    class Fixed:
        history = 1

        def probabilities(self, clips):
            assert clips.shape[1:] == (1, 1, 2, 2)
            return np.tile([0.2, 0.8], (len(clips), 1))

    press = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    clips = np.zeros((4000, 3, 1, 2, 2), np.uint8)

    def mixed(shares):
        return shares @ press

    drawn = sampled(Fixed(), mixed, 0)(clips, None, None)
    assert np.bincount(drawn, minlength=3) / 4000 == pytest.approx([0.4, 0.2, 0.4], abs=0.03)
    assert (sampled(Fixed(), mixed, 0)(clips, None, None) == drawn).all()
    assert (sampled(Fixed(), mixed, 1)(clips, None, None) != drawn).any()


def test_the_real_game_is_the_recorded_one(store):
    pytest.importorskip("ale_py")
    seen = []

    def replay(clips, rams, games):
        seen.append(clips[0, -1])
        return store.controls(0)[len(seen) - 1 : len(seen)]

    num_frames = store.episodes[0].num_frames
    scores = play_game(replay, 1, num_frames, seed=0)
    recorded = store.read(0, np.arange(num_frames - 1), grayscale=True)
    assert (np.stack(seen) == recorded).all()
    assert scores[0] == sum(store.episodes[0].metadata["rewards"])


def test_who_follows_the_ball_scores_and_who_does_nothing_does_not():
    pytest.importorskip("ale_py")
    trackers = [Tracker(np.random.default_rng(seed), 4) for seed in range(3)]

    def follow(clips, rams, games):
        assert clips.shape == (len(games), 2, 1, 210, 160)
        return np.array([trackers[game](ram) for game, ram in zip(games, rams, strict=True)])

    scores = play_game(follow, 3, 250, seed=1, history=2)
    assert scores.shape == (3,)
    assert scores.sum() > 3
    assert len(set(scores)) > 1 or scores.min() > 0
    idle = play_game(lambda clips, rams, games: np.zeros(len(games), int), 2, 60, seed=1)
    assert idle.tolist() == [0, 0]


def test_games_that_are_over_are_left_alone():
    pytest.importorskip("ale_py")
    left = []

    def fire(clips, rams, games):
        left.append(games.tolist())
        # The second game is played without ever launching a ball.
        return np.where(games == 0, 1, 0)

    play_game(fire, 2, 700, seed=0)
    assert left[0] == [0, 1]
    assert left[-1] == [1]
    assert len(left) == 699
