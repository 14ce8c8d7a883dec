"""Windows of a world's lessons: they lie on cells, around what moves, and say what whole frames say."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.sequences import read_sequences
from ghostpad.frames.store import FrameStore
from ghostpad.training.distributed import ProcessGroup
from ghostpad.world.config import WorldConfig
from ghostpad.world.dynamics import Dynamics, DynamicsConfig
from ghostpad.world.learner import LearningWorld
from ghostpad.world.sequences import Seen
from ghostpad.world.train import make_world_loop
from ghostpad.world.windows import read_windows
from small_model import saved, small_model
from small_world import small_world_config

SIDE, CELL = 5, 16


def windows_of(store: FrameStore, rows: np.ndarray, seed: int = 0) -> Seen:
    return read_windows(Transitions(store, "train"), rows, 3, False, SIDE, CELL, np.random.default_rng(seed))


@pytest.fixture
def config(store: FrameStore, tmp_path: Path) -> WorldConfig:
    """Twelve steps with windows: two under one button, two that find buttons, four and four that go on."""
    saved(small_model(store, grayscale=False, blocks=()), tmp_path / "plain.pt")
    sizes = {"window": 4, "batch_size": 8, "steps": 12, "rollouts_from": 0.6}
    return dataclasses.replace(small_world_config(store, tmp_path), model=str(tmp_path / "plain.pt"), **sizes)


def test_windows_lie_on_cells_and_show_what_is_recorded(store: FrameStore) -> None:
    rows = np.arange(0, 78, 2)
    seen, whole = windows_of(store, rows), read_sequences(Transitions(store, "train"), rows, 3, 1, False)
    assert seen.corners is not None and seen.counted is not None
    reached = seen.corners + SIDE
    assert int(seen.corners.min()) >= 0 and (reached.amax(0) <= torch.tensor([14, 10])).all()
    for index, (top, left) in enumerate((seen.corners * CELL).tolist()):
        part = whole[index, :, :, top : top + SIDE * CELL, left : left + SIDE * CELL].float() / 255
        height, width = part.shape[2:]
        assert torch.equal(seen.history[index, ..., :height, :width], part[:-1])
        assert torch.equal(seen.next_frames[index, :, :height, :width], part[-1])
        assert not seen.history[index, ..., height:, :].any()


def test_windows_hold_something_that_moves_and_count_its_cell(store: FrameStore) -> None:
    rows = np.arange(0, 78, 2)
    seen = windows_of(store, rows)
    assert seen.counted is not None
    moves = (seen.history[:, -1] != seen.next_frames).any(1).float()
    cells = torch.nn.functional.max_pool2d(moves[:, None], CELL)[:, 0] > 0
    pairs = read_sequences(Transitions(store, "train"), rows, 1, 1, False)
    moving = (pairs[:, 0] != pairs[:, 1]).flatten(1).any(1)
    assert moving.sum() > 20
    assert (cells & seen.counted).flatten(1).any(1)[moving].float().mean() > 0.85


def test_a_window_counts_to_the_edge_of_the_frame_alone(store: FrameStore) -> None:
    seen = windows_of(store, np.arange(78))
    assert seen.corners is not None and seen.counted is not None
    assert {0, 10 - SIDE} <= set(seen.corners[:, 1].tolist())
    for (row, column), counted in zip(seen.corners.tolist(), seen.counted, strict=True):
        assert counted[1:-1, 1:-1].all()
        assert bool(counted[2, 0]) == (column == 0) and bool(counted[2, -1]) == (column + SIDE == 10)
        # The last line of cells ends below the frame.
        assert bool(counted[0, 2]) == (row == 0) and not counted[-1].any()


def test_the_codes_of_windows_are_those_of_whole_frames(store: FrameStore) -> None:
    model, rows = small_model(store, grayscale=False, blocks=()), np.arange(0, 78, 3)
    seen, whole = windows_of(store, rows), read_sequences(Transitions(store, "train"), rows, 1, 1, False)
    assert seen.corners is not None and seen.counted is not None
    with torch.no_grad():
        pairs = torch.cat([seen.history[:, -1], seen.next_frames], 1)
        codes = model.quantizer.nearest(model.encoder(pairs))
    for index, (row, column) in enumerate(seen.corners.tolist()):
        true = model.encode(whole[index, 0], whole[index, 1])[row : row + SIDE, column : column + SIDE]
        counted = seen.counted[index]
        assert torch.equal(codes[index][counted], true[counted])


def test_the_first_look_at_a_window_is_that_at_the_whole_frame(store: FrameStore) -> None:
    torch.manual_seed(0)
    dynamics = Dynamics(DynamicsConfig(3, 2, (4, 8, 8), 0, 0), 3, 8, (14, 10)).eval()
    rows = np.arange(0, 78, 3)
    seen, whole = windows_of(store, rows), read_sequences(Transitions(store, "train"), rows, 3, 1, False)
    assert seen.corners is not None and seen.counted is not None
    with torch.no_grad():
        of_windows = dynamics.features(seen.history, seen.corners)
        of_frames = dynamics.features(whole[:, :-1].float() / 255)
    for index, (row, column) in enumerate(seen.corners.tolist()):
        inside = of_frames[index, :, row + 1 : row + SIDE - 1, column + 1 : column + SIDE - 1]
        assert torch.allclose(of_windows[index, :, 1:-1, 1:-1], inside, atol=1e-5)


def test_each_of_the_four_stages_has_its_lessons(config: WorldConfig, store: FrameStore) -> None:
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    world = loop.model.train()
    assert isinstance(world, LearningWorld)
    stages = []
    for step in (0, 2, 5, 11):
        batch = loop.task.batch(np.arange(40, 48), step)
        loss, terms = world(batch)
        loss.backward()
        assert ("windows" in terms) == (batch.windows is not None)
        if batch.windows is not None:
            assert batch.windows.history.shape[::4] == (8, 4 * CELL)
            assert (batch.held is None) == (batch.windows.held is None)
        assert (world.predicted is not None) == batch.lives
        one_button = batch.held is not None and not batch.held.any()
        stages.append(
            (
                len(batch.history),
                one_button,
                batch.temperature is not None,
                batch.windows is not None,
                batch.lives,
            )
        )
    assert stages == [
        (2, True, False, True, False),
        (4, False, True, False, False),
        (2, False, False, True, False),
        (2, False, False, True, True),
    ]


def test_buttons_begin_as_what_the_first_one_learned(config: WorldConfig, store: FrameStore) -> None:
    loop = make_world_loop(config, store, ProcessGroup(torch.device("cpu")))
    world = loop.model.train()
    assert isinstance(world, LearningWorld)
    born = world.dynamics.buttons.weight.detach().clone()
    with torch.no_grad():
        world.dynamics.buttons.weight[0] = 7.0
    for _ in range(2):
        world(loop.task.batch(np.arange(40, 48), 2))
    weight = world.dynamics.buttons.weight.detach()
    assert torch.equal(weight[0], torch.full_like(weight[0], 7.0))
    assert torch.allclose(weight[1:], born[1:] + 7.0)


def test_models_that_windows_do_not_fit_see_whole_frames(
    config: WorldConfig, store: FrameStore, tmp_path: Path
) -> None:
    for unfit in (
        dataclasses.replace(config, window=0),
        dataclasses.replace(config, window=11),
        dataclasses.replace(config, model=str(tmp_path / "model.pt")),  # has residual blocks
        dataclasses.replace(config, dynamics=dataclasses.replace(config.dynamics, widths=(4, 8))),
    ):
        loop = make_world_loop(unfit, store, ProcessGroup(torch.device("cpu")))
        batch = loop.task.batch(np.arange(8), 5)
        assert batch.windows is None and len(batch.history) == 8
    with pytest.raises(UserError, match="--window 2"):
        make_world_loop(dataclasses.replace(config, window=2), store, ProcessGroup(torch.device("cpu")))


def test_tokens_have_no_windows(config: WorldConfig, store: FrameStore, tmp_path: Path) -> None:
    saved(small_model(store, grayscale=False, blocks=(), tokens=(2, 2)), tmp_path / "tokens.pt")
    loop = make_world_loop(
        dataclasses.replace(config, model=str(tmp_path / "tokens.pt")),
        store,
        ProcessGroup(torch.device("cpu")),
    )
    assert loop.task.batch(np.arange(8), 5).windows is None
