"""Where what moves goes: learned from recordings, the same in windows, and drawn if it is asked to be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.objects.dynamics import AROUND, FAR, HIDES, SIDE, Movement, looked_at, number, offsets, sight
from ghostpad.objects.tracking import Tracks, follow
from ghostpad.objects.training import Example, followed_in, some_rows, teach
from test_world_going_on import flight


def fates(followed: Tracks) -> list[tuple[bool, list[int]]]:
    return [
        (thing.hides, thing.foreseen.tolist())
        for thing in followed.things or []
        if thing.foreseen is not None
    ]


def things_followed(transitions: Transitions, num_steps: int) -> list[Example]:
    return followed_in(transitions, some_rows(transitions, num_steps, 0), 8, False)


def test_numbers_stand_for_offsets() -> None:
    for offset in ((0, 0), (-FAR, FAR), (3, -7)):
        assert tuple(offsets(np.array([number(np.array(offset))]))[0]) == offset
    assert tuple(offsets(np.array([number(np.array([99, -99]))]))[0]) == (FAR, -FAR)
    assert number(np.array([FAR, FAR])) == HIDES - 1 == SIDE**2 - 1


def test_what_is_around_a_thing_is_seen_and_black_beyond_the_frame() -> None:
    frames = flight(8)
    followed = follow(frames)
    (thing,) = [thing for thing in followed.things or [] if thing.is_sure]
    seen = sight(followed.newest, followed.before, thing)
    assert seen.shape == (8, 2 * AROUND, 2 * AROUND) and not seen[-2].any()
    top, left = thing.place + np.array([2, 1]) - AROUND
    assert (seen[-1, AROUND - 2 : AROUND + 2, AROUND - 1 : AROUND + 1] == 255).all()
    assert seen[-1].sum() == 255 * 8
    for now, channels in ((frames[7], slice(0, 3)), (frames[6], slice(3, 6))):
        padded = np.pad(now, ((0, 0), (AROUND, AROUND), (AROUND, AROUND)))
        top_left = slice(top + AROUND, top + 3 * AROUND), slice(left + AROUND, left + 3 * AROUND)
        assert (seen[channels] == padded[:, *top_left]).all()
    led = replace(thing, foreseen=thing.place + np.array([5, -3]), is_steered=True)
    (there,) = np.argwhere(sight(followed.newest, followed.before, thing, led)[-2]).min(0, keepdims=True)
    assert there.tolist() == [AROUND - 2 + 5, AROUND - 1 - 3], "where what is steered will be"


def test_before_training_nothing_is_foreseen() -> None:
    followed = follow(flight(8))
    assert Movement(3).foresee([followed]) == [followed]
    movement = Movement(3)
    movement.is_taught.fill_(True)
    (told,) = movement.foresee([followed])
    assert fates(told) == [(False, [10 + 3 * 8, 50 - 2 * 8])], "a new one trusts that all goes on"
    assert fates(followed) == []


def test_it_learns_from_recordings_what_holds_in_others(store: FrameStore) -> None:
    torch.manual_seed(0)
    movement, known, others = Movement(3), Transitions(store, "train"), Transitions(store, "train")
    last = known.episode_index == known.episode_index.max()
    for part, wanted in ((known, ~last), (others, last)):
        part.episode_index, part.frame_index = part.episode_index[wanted], part.frame_index[wanted]
    looks = teach(movement, known, things_followed(known, 60), 60, 0)
    examples = [e for e in followed_in(others, np.arange(len(others)), 8, False) if e.thing.is_sure]
    assert looks >= 30 and len(examples) >= 10 and bool(movement.is_taught)
    things = [
        (Tracks(*[others.read(np.array([each.row]), False)[0][0]] * 3, None), each.thing) for each in examples
    ]
    answers = torch.tensor([example.fate for example in examples])
    with torch.no_grad():
        taught, untaught = (
            torch.nn.functional.cross_entropy(each(*looked_at(things)), answers)
            for each in (movement, Movement(3))
        )
    assert taught < 0.8 * untaught


def test_where_nothing_small_moves_nothing_is_learned(store: FrameStore) -> None:
    movement, few = Movement(3), Transitions(store, "train")
    few.episode_index, few.frame_index = few.episode_index[:5], few.frame_index[:5]
    assert teach(movement, few, things_followed(few, 5), 5, 0) < 16 and not bool(movement.is_taught)


@pytest.mark.parametrize("steps", [3, 5])
def test_the_same_seed_teaches_the_same(store: FrameStore, steps: int) -> None:
    taught = []
    for _ in range(2):
        torch.manual_seed(1)
        movement = Movement(3)
        known = Transitions(store, "train")
        teach(movement, known, things_followed(known, steps), steps, 7)
        taught.append(movement.state_dict())
    assert all(torch.equal(taught[0][name], taught[1][name]) for name in taught[0])


def test_draws_follow_the_chances() -> None:
    followed, movement = follow(flight(8)), Movement(3)
    movement.is_taught.fill_(True)
    with torch.no_grad():
        for part in (movement.out.weight, movement.out.bias, movement.trust.weight):
            part.zero_()
        movement.trust.bias.fill_(50.0)
        movement.out.bias[HIDES] = 50.0
    draws = torch.Generator().manual_seed(0)
    hidden = [fates(movement.foresee([followed], 1.0, draws)[0])[0][0] for _ in range(40)]
    assert 8 < sum(hidden) < 32
    assert not fates(movement.foresee([followed])[0])[0][0], "as likely as not is not sure enough"
    again = [fates(movement.foresee([followed], 1.0, torch.Generator().manual_seed(3))[0]) for _ in range(2)]
    assert again[0] == again[1]


def test_things_of_many_worlds_are_told_apart() -> None:
    movement = Movement(3)
    movement.is_taught.fill_(True)
    first, second = follow(flight(8)), follow(flight(8, step=(0, 5)))
    still = replace(first, things=None)
    told = movement.foresee([first, still, second])
    assert told[1].things is None
    assert [fates(each) for each in (told[0], told[2])] == [
        fates(movement.foresee([each])[0]) for each in (first, second)
    ]
