"""What memory says about Breakout, against the pixels of the same frame."""

import numpy as np
import pytest

from ghostpad.games.breakout.memory import FIELD_BOTTOM, FIELD_LEFT, FIELD_RIGHT, FIELD_TOP, truth_from_ram
from ghostpad.games.breakout.player import Tracker

_ROW_COLORS = ((200, 72, 72), (198, 108, 58), (180, 122, 48), (162, 162, 42), (72, 160, 72), (66, 72, 200))
_RED, _GRAY = _ROW_COLORS[0], (142, 142, 142)


def _draw(truth: dict[str, np.ndarray], frame: int) -> np.ndarray:
    """Paint the field from truth alone."""
    picture = np.zeros((210, 160, 3), np.uint8)
    for row, column in np.argwhere(truth["bricks"][frame]):
        picture[57 + 6 * row : 63 + 6 * row, 8 + 8 * column : 16 + 8 * column] = _ROW_COLORS[row]
    left = truth["paddle_x"][frame]
    picture[189:193, left : left + truth["paddle_width"][frame]] = _RED
    x, y = int(truth["ball_x"][frame]), int(truth["ball_y"][frame])
    if x >= 0:
        # the console draws a fifth line where the ball hangs over the lower edge of the bricks
        for line in range(y, y + (5 if 89 <= y <= 92 else 4)):
            color = _GRAY if line < 57 else _ROW_COLORS[(line - 57) // 6] if line < 93 else _RED
            picture[line, max(x, FIELD_LEFT) : min(x + 2, FIELD_RIGHT)] = color
    return picture[FIELD_TOP:FIELD_BOTTOM, FIELD_LEFT:FIELD_RIGHT]


@pytest.fixture(scope="module")
def play() -> tuple[np.ndarray, np.ndarray]:
    """Screens and memory of a game that reaches the top wall, where the paddle shrinks."""
    ale_py = pytest.importorskip("ale_py")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    emulator = ale_py.ALEInterface()
    emulator.setInt("random_seed", 1)
    emulator.setInt("frame_skip", 1)
    emulator.setFloat("repeat_action_probability", 0.0)
    emulator.loadROM(ale_py.roms.get_rom_path("breakout"))
    actions = emulator.getMinimalActionSet()
    rng = np.random.default_rng(5)
    screens, rams, offset = [], [], 8
    for step in range(9000):
        ram = emulator.getRAM()
        if step % 50 == 0:
            offset = rng.integers(2, 14)
        distance = int(ram[99]) - 49 - (int(ram[72]) - 47 + offset)
        emulator.act(actions[1 if ram[101] == 0 else 2 if distance > 2 else 3 if distance < -2 else 0])
        if step < 1500 or step > 7000:
            screens.append(emulator.getScreenRGB())
            rams.append(emulator.getRAM().copy())
    return np.stack(screens), np.stack(rams)


def test_a_picture_drawn_from_truth_is_the_picture(play: tuple[np.ndarray, np.ndarray]) -> None:
    screens, ram = play
    truth = truth_from_ram(ram)
    field = screens[:, FIELD_TOP:FIELD_BOTTOM, FIELD_LEFT:FIELD_RIGHT]
    wrong = [frame for frame in range(len(ram)) if (_draw(truth, frame) != field[frame]).any()]
    assert wrong == []
    assert {16, 12} <= set(truth["paddle_width"].tolist())
    assert (truth["ball_x"] < 0).any()
    assert (~truth["bricks"]).any(axis=(0, 2)).all(), (
        "every row should lose a brick, or the test shows little"
    )


def test_a_ball_inside_a_brick_cannot_be_seen(play: tuple[np.ndarray, np.ndarray]) -> None:
    ram = play[1][:1].copy()
    ram[:, 99], ram[:, 101] = 49 + 50, 70 - 8  # the ball at x 50, y 70
    hidden = truth_from_ram(ram)
    ram[:, :36] = 0
    seen = truth_from_ram(ram)
    assert (hidden["ball_x"][0], hidden["ball_y"][0]) == (-1, -1)
    assert (seen["ball_x"][0], seen["ball_y"][0]) == (50, 70)
    ram[:, 101] = 0
    assert truth_from_ram(ram)["ball_x"][0] == -1


def test_score_and_lives_are_those_of_the_emulator(play: tuple[np.ndarray, np.ndarray]) -> None:
    truth = truth_from_ram(play[1])
    values = np.array([7, 7, 4, 4, 1, 1])
    broken = (~truth["bricks"]).sum(axis=2) @ values
    assert np.array_equal(truth["score"], broken)
    assert truth["lives"][0] == 5


def test_the_tracker_is_not_a_function_of_the_frame() -> None:
    ram = np.zeros(128, np.uint8)
    ram[101], ram[99], ram[72] = 100, 120, 100
    chosen = {Tracker(np.random.default_rng(seed), 4)(ram) for seed in range(60)}
    assert len(chosen) >= 2
