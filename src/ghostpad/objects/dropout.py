"""Object dropout, an augmentation: a moving object is missing from the newest frames, or there twice.

A world that once forgets its ball has a history that no recording shows, and would never draw it again.
Trained on recordings with dropout, it learns to repair them: the target is the next recorded frame.

Dimensions: B histories, k frames of history, C colour channels, H W frame.
"""

import numpy as np

from ghostpad.objects.detection import label_components, temporal_mode

MIN_RADIUS, MAX_RADIUS = 8, 24  # pixels from the centre of the erased square to its edge
DUPLICATED_SHARE = 0.3  # of histories in which the object is there twice


def drop_objects(frames_BTCHW: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Drop or duplicate an object in some histories, in place; returns in which (B,), bool.

    Args:
        frames_BTCHW: uint8; the last frame of each follows its history and stays.
        share: of the histories, in [0, 1].
        generator: of the draws.
    """
    chosen = generator.random(len(frames_BTCHW)) < share
    for index in chosen.nonzero()[0]:
        _drop_object(frames_BTCHW[index, :-1], generator)
    return chosen


def _drop_object(history_kCHW: np.ndarray, generator: np.random.Generator) -> None:
    """Replace a square around a moving object by the background, or copy what differs from it elsewhere."""
    _, boxes = label_components((history_kCHW[-1] != history_kCHW[-2]).any(0))
    if not boxes:
        return
    box = boxes[generator.integers(len(boxes))]
    radius = int(generator.integers(MIN_RADIUS, MAX_RADIUS + 1))
    centre = [(side.start + side.stop) // 2 for side in box]
    rows, columns = (slice(max(0, middle - radius), middle + radius) for middle in centre)
    num_frames = min(int(generator.geometric(0.5)), len(history_kCHW) // 2)
    background = temporal_mode(history_kCHW[:, :, rows, columns])
    if generator.random() >= DUPLICATED_SHARE:
        history_kCHW[-num_frames:, :, rows, columns] = background
        return
    offset = generator.integers(-2 * MAX_RADIUS, 2 * MAX_RADIUS + 1, 2)
    for frame in history_kCHW[-num_frames:]:
        corner = np.array([rows.start, columns.start])
        pixels = np.argwhere((frame[:, rows, columns] != background).any(0)) + corner
        inside = ((pixels + offset >= 0) & (pixels + offset < frame.shape[1:])).all(1)
        pixels = pixels[inside]
        copies = pixels + offset
        frame[:, copies[:, 0], copies[:, 1]] = frame[:, pixels[:, 0], pixels[:, 1]]
