"""Frames of objects that move, and tracks whose next positions are given."""

from dataclasses import replace

import numpy as np

from ghostpad.objects.scene import Scene, Tracks
from ghostpad.objects.tracking import track

COLOR = np.array([200, 72, 72], np.uint8)[:, None, None]


def flight(num: int, velocity: tuple[int, int] = (3, -2)) -> np.ndarray:
    """Frames (num, 3, 60, 80) uint8 of a ball of 4×2 pixels over stripes."""
    frames = np.zeros((num, 3, 60, 80), np.uint8)
    frames[..., ::8] = 90
    for time in range(num):
        row, column = 10 + velocity[0] * time, 50 + velocity[1] * time
        frames[time, :, row : row + 4, column : column + 2] = COLOR
    return frames


def bar(num: int, velocity: int, first: int = 10) -> np.ndarray:
    """Frames (num, 3, 60, 80) of a bar of 4×16 pixels that moves to the right; a wall begins at column 70."""
    frames = np.zeros((num, 3, 60, 80), np.uint8)
    frames[..., 70:] = 142
    for time in range(num):
        frames[time, :, 50:54, first + velocity * time : first + velocity * time + 16] = COLOR
    return frames


def track_to(
    history: np.ndarray, position: tuple[int, int], occluded: bool = False, scene: Scene | None = None
) -> Tracks:
    """The tracks of a history whose sprites are predicted at a position."""
    tracks = track(history, scene)
    assert any(each.is_sprite for each in tracks.objects)
    objects = [
        replace(each, predicted_position=np.array(position), occluded=occluded) if each.is_sprite else each
        for each in tracks.objects
    ]
    return replace(tracks, objects=objects)
