"""Object dynamics: what the network sees, what it learns from recordings, and what it predicts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects.dynamics import (
    CROP_RADIUS,
    MAX_OFFSET,
    OCCLUDED,
    SIDE,
    ObjectDynamics,
    class_of,
    crop,
    displacements_of,
    network_inputs,
)
from ghostpad.objects.recordings import Recordings, TrackedObject
from ghostpad.objects.scene import Tracks
from ghostpad.objects.tracking import track
from ghostpad.objects.training import outcome_class, train_object_dynamics
from moving_objects import flight


def predictions(tracks: Tracks) -> list[tuple[bool, list[int]]]:
    return [
        (each.occluded, each.predicted_position.tolist())
        for each in tracks.objects
        if each.predicted_position is not None
    ]


def trained(num_channels: int = 3) -> ObjectDynamics:
    dynamics = ObjectDynamics(num_channels)
    dynamics.is_trained.fill_(True)
    return dynamics


def tracked_for(recordings: Recordings, num_steps: int) -> list[TrackedObject]:
    return recordings.track(recordings.sample_rows(num_steps))


def test_classes_stand_for_displacements() -> None:
    for displacement in ((0, 0), (-MAX_OFFSET, MAX_OFFSET), (3, -7)):
        assert tuple(displacements_of(np.array([class_of(np.array(displacement))]))[0]) == displacement
    clipped = displacements_of(np.array([class_of(np.array([99, -99]))]))[0]
    assert tuple(clipped) == (MAX_OFFSET, -MAX_OFFSET)
    assert class_of(np.array([MAX_OFFSET, MAX_OFFSET])) == OCCLUDED - 1 == SIDE**2 - 1


def test_a_crop_shows_the_surroundings_of_an_object_and_black_beyond_the_frame() -> None:
    frames = flight(8)
    (ball,) = [each for each in track(frames).objects if each.is_sprite]
    shown = crop(frames[7], frames[6], ball)
    assert shown.shape == (8, 2 * CROP_RADIUS, 2 * CROP_RADIUS) and not shown[-2].any()
    centre = slice(CROP_RADIUS - 2, CROP_RADIUS + 2), slice(CROP_RADIUS - 1, CROP_RADIUS + 1)
    assert (shown[-1, *centre] == 255).all() and shown[-1].sum() == 255 * 8
    top, left = ball.position + np.array([2, 1])
    for frame, channels in ((frames[7], slice(0, 3)), (frames[6], slice(3, 6))):
        padded = np.pad(frame, ((0, 0), (CROP_RADIUS, CROP_RADIUS), (CROP_RADIUS, CROP_RADIUS)))
        assert (
            shown[channels] == padded[:, top : top + 2 * CROP_RADIUS, left : left + 2 * CROP_RADIUS]
        ).all()
    driven = replace(ball, predicted_position=ball.position + np.array([5, -3]), is_controllable=True)
    corner = np.argwhere(crop(frames[7], frames[6], ball, driven)[-2]).min(0)
    assert corner.tolist() == [CROP_RADIUS - 2 + 5, CROP_RADIUS - 1 - 3], (
        "where the controllable object will be"
    )


def test_without_training_nothing_is_predicted() -> None:
    tracks = track(flight(8))
    assert ObjectDynamics(3).predict([tracks]) == [tracks]
    (predicted,) = trained().predict([tracks])
    assert predictions(predicted) == [(False, [10 + 3 * 8, 50 - 2 * 8])], "weights start at constant velocity"
    assert predictions(tracks) == []


def test_what_is_learned_from_recordings_holds_in_others(store: FrameStore) -> None:
    torch.manual_seed(0)
    dynamics, known, others = ObjectDynamics(3), Transitions(store, "train"), Transitions(store, "train")
    is_last = known.episode_index == known.episode_index.max()
    for part, wanted in ((known, ~is_last), (others, is_last)):
        part.episode_index, part.frame_index = part.episode_index[wanted], part.frame_index[wanted]
    recordings, held_out = Recordings(known, 8, False), Recordings(others, 8, False)
    num_sprites = train_object_dynamics(dynamics, recordings, tracked_for(recordings, 60), 60)
    sprites = [each for each in held_out.track(np.arange(len(others))) if each.object.is_sprite]
    assert num_sprites >= 30 and len(sprites) >= 10 and bool(dynamics.is_trained)
    frames = [held_out.read(each.row, 1)[0] for each in sprites]
    inputs = network_inputs(
        [(frame, frame, each.object, None) for frame, each in zip(frames, sprites, strict=True)]
    )
    classes = torch.tensor([outcome_class(each) for each in sprites])
    with torch.no_grad():
        after, before = (
            torch.nn.functional.cross_entropy(each(*inputs), classes)
            for each in (dynamics, ObjectDynamics(3))
        )
    assert after < 0.8 * before


def test_without_sprites_nothing_is_trained(store: FrameStore) -> None:
    dynamics, few = ObjectDynamics(3), Transitions(store, "train")
    few.episode_index, few.frame_index = few.episode_index[:5], few.frame_index[:5]
    recordings = Recordings(few, 8, False)
    assert train_object_dynamics(dynamics, recordings, tracked_for(recordings, 5), 5) < 16
    assert not bool(dynamics.is_trained)


@pytest.mark.parametrize("num_steps", [3, 5])
def test_training_is_deterministic(store: FrameStore, num_steps: int) -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(1)
        dynamics = ObjectDynamics(3)
        recordings = Recordings(Transitions(store, "train"), 8, False, seed=7)
        train_object_dynamics(dynamics, recordings, tracked_for(recordings, num_steps), num_steps)
        weights.append(dynamics.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_samples_follow_the_predicted_probabilities() -> None:
    tracks, dynamics = track(flight(8)), trained()
    with torch.no_grad():
        for part in (dynamics.out.weight, dynamics.out.bias, dynamics.bias.weight):
            part.zero_()
        dynamics.bias.bias.fill_(50.0)
        dynamics.out.bias[OCCLUDED] = 50.0
    generator = torch.Generator().manual_seed(0)
    occluded = [predictions(dynamics.predict([tracks], 1.0, generator)[0])[0][0] for _ in range(40)]
    assert 8 < sum(occluded) < 32
    assert not predictions(dynamics.predict([tracks])[0])[0][0], "a probability of one half is too low"
    again = [
        predictions(dynamics.predict([tracks], 1.0, torch.Generator().manual_seed(3))[0]) for _ in range(2)
    ]
    assert again[0] == again[1]


def test_objects_of_many_worlds_are_predicted_as_each_alone() -> None:
    dynamics = trained()
    first, second = track(flight(8)), track(flight(8, (0, 5)))
    predicted = dynamics.predict([first, replace(first, objects=[]), second])
    assert predicted[1].objects == []
    alone = [predictions(dynamics.predict([each])[0]) for each in (first, second)]
    assert [predictions(each) for each in (predicted[0], predicted[2])] == alone
