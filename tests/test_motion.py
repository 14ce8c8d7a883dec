"""Shifts between frames by phase correlation: known shifts of real textures are found, at any size."""

import numpy as np
import pytest
import torch

from ghostpad.frames.ingest import open_data
from ghostpad.motion import features_of_pairs, motion_features, phase_correlation, region_shifts, regions
from recordings import write_pngs


def texture(height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((height, width), np.float32))


@pytest.mark.parametrize("size", [(64, 64), (105, 80), (33, 47)])
@pytest.mark.parametrize("shift", [(0, 0), (3, -5), (-7, 2), (10, 10)])
def test_the_shift_of_a_texture_is_found_exactly(size, shift):
    picture = texture(*size)
    moved = torch.roll(picture, shift, (0, 1))
    found, peak = phase_correlation(picture[None], moved[None])
    assert found[0].tolist() == list(shift)
    assert 0.2 < float(peak[0]) <= 1.001


def test_equal_pictures_have_no_shift_and_a_full_peak():
    found, peak = phase_correlation(texture(40, 40)[None], texture(40, 40)[None])
    assert found[0].tolist() == [0, 0]
    assert float(peak[0]) > 0.9


def test_unrelated_pictures_have_a_low_peak():
    _, peak = phase_correlation(texture(64, 64, 1)[None], texture(64, 64, 2)[None])
    assert float(peak[0]) < 0.2


def test_pictures_without_any_content_have_no_shift():
    found, peak = phase_correlation(torch.zeros(2, 32, 32), torch.zeros(2, 32, 32))
    assert not found.any()
    assert not peak.any()


def test_a_sprite_on_an_empty_background_is_found_without_a_window():
    before, after = torch.zeros(2, 48, 48)
    before[2:8, 3:7] = after[2:8, 8:12] = 1  # at the border, where a window would hide it
    assert phase_correlation(before[None], after[None], windowed=False)[0][0].tolist() == [0, 5]


def test_regions_tell_the_two_halves_of_a_frame_apart():
    left, right = texture(64, 32, 1), texture(64, 32, 2)
    before = torch.cat([left, right], 1)
    after = torch.cat([torch.roll(left, 4, 1), torch.roll(right, -4, 1)], 1)
    shifts = region_shifts(before[None], after[None])[0]
    places = regions(64, 64)
    assert shifts.shape == (len(places), 3)
    assert shifts[places.index((slice(None), slice(0, 32))), :2].tolist() == [0, 4]
    assert shifts[places.index((slice(None), slice(32, 64))), :2].tolist() == [0, -4]


@pytest.fixture(scope="module")
def scrolling(tmp_path_factory):
    picture = (texture(64, 64).numpy() * 255).astype(np.uint8)
    frames = [np.stack([np.roll(picture, 2 * step, 1)] * 3, 2) for step in range(12)]
    return open_data(write_pngs(tmp_path_factory.mktemp("scroll"), {f"e{i}": frames for i in range(3)}))


def test_features_of_a_store_hold_the_shift_of_each_transition(scrolling):
    motion = motion_features(scrolling)
    assert motion.features_TF.dtype == np.float32
    assert motion.features_TF.shape == (33, 2 * len(regions(64, 64)))
    assert np.allclose(motion.features_TF[:, :2], [0, np.log1p(2)])


def test_a_stride_doubles_the_shift(scrolling):
    features_TF = motion_features(scrolling, stride=2).features_TF
    assert np.allclose(features_TF[:, 1], np.log1p(4))


@pytest.mark.parametrize("name", ["scrolling", "centred_sprite", "store"])
def test_the_features_of_a_pair_of_frames_are_those_of_the_same_transition(name, request):
    recorded = request.getfixturevalue(name)
    motion, frames = motion_features(recorded), recorded.read(1, slice(None), False)
    found = features_of_pairs(motion, recorded, 1, frames[:-1], frames[1:])
    first = recorded.episodes[0].num_frames - 1
    assert found.dtype == np.float32
    assert np.allclose(found, motion.features_TF[first : first + len(found)], atol=1e-6)


def test_a_camera_that_moves_is_not_taken_for_fixed(scrolling, store):
    assert not motion_features(scrolling).fixed_camera
    assert motion_features(store).fixed_camera


@pytest.fixture(scope="module")
def centred_sprite(tmp_path_factory):
    """A camera that follows a player, who stands at rows 24 to 31 and columns 32 to 39, up and down."""
    picture = (texture(64, 64).numpy() * 200).astype(np.uint8)
    frames = []
    for step in range(24):
        frame = np.stack([np.roll(picture, 3 * step, 0)] * 3, 2)
        frame[24:32, 32:40] = (255, 10 * step, 0)
        frames.append(frame)
    return open_data(write_pngs(tmp_path_factory.mktemp("follow"), {f"e{i}": frames for i in range(3)}))


def test_the_sprite_that_the_camera_follows_is_found(centred_sprite):
    motion = motion_features(centred_sprite)
    assert motion.screen_fixed_RC is not None
    cells = np.argwhere(motion.screen_fixed_RC).tolist()
    assert cells[:4] == [[6, 8], [6, 9], [7, 8], [7, 9]]
    assert len(cells) <= 6, "only its neighbours besides"
    assert motion.num_shifts == 2 * len(regions(64, 64))
    green_T = motion.features_TF[:23, motion.num_shifts + len(cells) :][:, :4]
    assert np.allclose(green_T, 10 * np.arange(1, 24)[:, None] / 255)


def test_a_picture_that_scrolls_as_a_whole_has_no_sprite(scrolling):
    assert motion_features(scrolling).screen_fixed_RC is None
