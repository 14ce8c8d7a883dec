"""Windows start on cells, contain a changing pixel, and are parts of the frames."""

import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.frames.batches import Batch, check_windows, cut_windows

CELL, WINDOW = 8, (24, 16)


def one_pixel_changes(num: int = 64) -> tuple[Batch, torch.Tensor]:
    """Frames whose pixel (y, x) encodes its position, and next frames that differ at one place each."""
    y, x = torch.meshgrid(torch.arange(50), torch.arange(40), indexing="ij")
    colors = (100 * y + x)[None].expand(num, -1, -1)
    places = torch.stack([torch.arange(num) * 7 % 48, torch.arange(num) * 5 % 40], 1)
    next_colors = colors.clone()
    next_colors[torch.arange(num), places[:, 0], places[:, 1]] = -1
    frames, next_frames = (c[:, None].float().expand(-1, 3, -1, -1) for c in (colors, next_colors))
    return Batch(frames, next_frames, colors, next_colors), places


def test_windows_start_on_cells_and_contain_a_changing_pixel() -> None:
    batch, places = one_pixel_changes()
    cut = cut_windows(batch, WINDOW, CELL, torch.Generator().manual_seed(0))
    assert cut.colors is not None and cut.next_colors is not None
    assert cut.frames.shape == (64, 3, 24, 16) and cut.next_colors.shape == (64, 24, 16)
    starts = torch.stack([cut.colors[:, 0, 0] // 100, cut.colors[:, 0, 0] % 100], 1)
    assert not (starts % CELL).any() and len(starts.unique(dim=0)) > 8
    held = ((places >= starts) & (places < starts + torch.tensor([24, 16]))).all(1)
    assert torch.equal((cut.next_colors == -1).any(2).any(1), held)
    # One in ten looks anywhere.
    assert 0.85 < float(held.float().mean()) < 1
    assert torch.equal(cut.frames[:, 1], cut.colors.float())
    assert torch.equal(cut.next_frames[:, 2], cut.next_colors.float())


def test_every_pixel_on_whole_cells_can_be_in_a_window() -> None:
    batch, _ = one_pixel_changes(512)
    still = Batch(batch.frames, batch.frames, batch.colors, batch.colors)
    cut = cut_windows(still, WINDOW, CELL, torch.Generator().manual_seed(1))
    assert cut.colors is not None
    seen = cut.colors.unique()
    wanted = (100 * torch.arange(48)[:, None] + torch.arange(40)).flatten()
    assert torch.equal(seen, wanted)


def test_the_same_generator_cuts_the_same_windows() -> None:
    batch, _ = one_pixel_changes(8)
    one, other = (cut_windows(batch, WINDOW, CELL, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.frames, other.frames)


@pytest.mark.parametrize("window", [(20, 16), (64, 16), (24, 0)])
def test_windows_that_do_not_fit_are_refused(window: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="windows"):
        check_windows(window, (50, 40), CELL)
    check_windows(WINDOW, (50, 40), CELL)
    check_windows((0, 0), (50, 40), CELL)
