"""Models whose every metric is known beforehand, and pictures of Breakout drawn by hand."""

from collections.abc import Callable

import numpy as np

from ghostpad.games.breakout import detector as breakout

GRAY = {"wall": 142, "ball": 110, "bricks": (110, 129, 131, 148, 124, 85)}


class KnownModel:
    """Its codes are the number of a transition, from which `decode` knows the true next frame.

    `change(frames, next_frames)` turns what it knows into what it draws; by default it draws the truth.
    """

    codebook_size = 16
    grid = (4, 3)

    def __init__(self, change: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None, grayscale=True):
        self.change = change or (lambda frames, next_frames: next_frames)
        self.grayscale = grayscale
        self.memory: list[np.ndarray] = []

    def encode(self, frames, next_frames):
        numbers = np.arange(len(self.memory), len(self.memory) + len(frames))
        self.memory += list(next_frames)
        digits = numbers[:, None] // self.codebook_size ** np.arange(12) % self.codebook_size
        return digits.reshape(-1, *self.grid)

    def decode(self, frames, codes):
        numbers = (codes.reshape(len(codes), -1) * self.codebook_size ** np.arange(12)).sum(1)
        known = np.stack([self.memory[number] for number in numbers])
        return self.change(frames, known).astype(np.float32) / 255


def copy_model() -> KnownModel:
    """Draws the current frame, whatever the codes say."""
    return KnownModel(lambda frames, next_frames: frames)


def breakout_picture(ball=(80, 120), paddle=60, width=16, gone=()) -> np.ndarray:
    """(1, 1, 210, 160) uint8: ball (x, y) or None, edge of the paddle, bricks (row, column) gone."""
    picture = np.zeros((210, 160), np.uint8)
    picture[17:196, :8] = picture[17:196, 152:] = picture[17:32] = GRAY["wall"]
    for row, color in enumerate(GRAY["bricks"]):
        picture[57 + 6 * row : 63 + 6 * row, 8:152] = color
    for row, column in gone:
        picture[57 + 6 * row : 63 + 6 * row, 8 + 8 * column : 16 + 8 * column] = 0
    picture[189:193, paddle : paddle + width] = GRAY["ball"]
    if ball is not None:
        x, y = ball
        hidden = breakout.detect(picture[None, None])["bricks"][0]
        for row in range(y, y + 4):
            in_bricks = 57 <= row < 93
            if in_bricks and hidden[(row - 57) // 6, (x - 8) // 8]:
                continue
            color = GRAY["bricks"][(row - 57) // 6] if in_bricks else GRAY["ball"]
            picture[row, max(x, 8) : min(x + 2, 152)] = color
    return picture[None, None]


def still_model(encode: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> KnownModel:
    """Draws the current frame; its codes are what `encode` makes of frames and next frames."""
    model = copy_model()
    model.encode = encode
    model.decode = lambda frames, codes: frames.astype(np.float32) / 255
    return model
