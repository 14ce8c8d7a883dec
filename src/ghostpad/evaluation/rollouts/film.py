"""Films of a world beside the emulator, under the same controls.

Dimensions: T moments, H W frame, C colour channels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.evaluation.rollouts.side_by_side import Start, draw_starts, side_by_side
from ghostpad.frames.store import FrameStore
from ghostpad.io import whole_file
from ghostpad.world.world_model import WorldModel

FORMATS = (".gif", ".mp4")
FRAMES_PER_S = 15
"""Of a film: Breakout at frame skip 4, as fast as it is played."""
_ENLARGED, _CAPTION, _GAP = 2, 24, 8


@dataclass(frozen=True)
class Rollout:
    """What one world showed, and the emulator beside it; T moments, the start first.

    Attributes:
        drawn: (T, H, W, 3) uint8, what the world shows.
        true: (T, H, W, 3) uint8, what the emulator shows.
        controls: (T,) held to get there, -1 at the start.
        buttons: (T,) pressed in the world for them, -1 at the start.
        control_names: by number.
    """

    drawn: np.ndarray
    true: np.ndarray
    controls: np.ndarray
    buttons: np.ndarray
    control_names: tuple[str, ...]


def roll_out(
    world: WorldModel, control_map: ControlMap, store: FrameStore, start: Start, num_frames: int, seed: int
) -> Rollout:
    """Let a world and the emulator go on from one start, until the emulator's game is over at the latest.

    Raises:
        UserError: as `side_by_side`.
    """
    moments = []
    for moment in side_by_side(world, control_map, store, [start], num_frames, seed):
        moments.append(moment)
        if moment.over[0]:
            break
    names = store.control_names(start.episode_index) or []
    drawn, true = (
        np.broadcast_to(np.stack(pictures).transpose(0, 2, 3, 1), (len(moments), *pictures[0].shape[1:], 3))
        for pictures in ([m.drawn[0] for m in moments], [m.true[0] for m in moments])
    )
    controls, buttons = (
        np.array(held) for held in ([m.controls[0] for m in moments], [m.buttons[0] for m in moments])
    )
    return Rollout(drawn, true, controls, buttons, tuple(names))


def write_rollout(
    world: WorldModel,
    control_map: ControlMap,
    store: FrameStore,
    path: Path,
    num_frames: int = 300,
    seed: int = 0,
) -> Rollout:
    """Write a film of a world beside the emulator, from a held-out start that `seed` draws.

    Args:
        world: the world.
        control_map: which button it gets for a control.
        store: recordings of Breakout with controls.
        path: file to write; `.gif` or `.mp4` by its ending.
        num_frames: steps to go, at least 1.
        seed: of the start and of the player.

    Raises:
        UserError: the ending is another, or as `side_by_side`.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: films end in {' or '.join(FORMATS)}")
    (start,) = draw_starts(world, store, 1, seed)
    rollout = roll_out(world, control_map, store, start, num_frames, seed)
    write_film(path, draw_film(rollout))
    return rollout


def draw_film(rollout: Rollout) -> np.ndarray:
    """The frames of a film: (T, height, width, 3) uint8, pictures twice as large below a line of text."""
    both = [np.repeat(np.repeat(p, _ENLARGED, 1), _ENLARGED, 2) for p in (rollout.drawn, rollout.true)]
    num, height, width, _ = both[0].shape
    film = np.zeros((num, _CAPTION + height, 2 * width + _GAP, 3), np.uint8)
    film[:, _CAPTION:, :width], film[:, _CAPTION:, width + _GAP :] = both
    font = ImageFont.load_default(14)
    for step in range(num):
        held = "recorded"
        if rollout.controls[step] >= 0:
            held = f"{rollout.control_names[rollout.controls[step]]}   button {rollout.buttons[step]}"
        strip = Image.new("L", (film.shape[2], _CAPTION))
        pen = ImageDraw.Draw(strip)
        pen.text((4, 3), f"world   step {step}   {held}", 255, font)
        pen.text((width + _GAP + 4, 3), "emulator", 255, font)
        film[step, :_CAPTION] = np.asarray(strip)[..., None]
    return film


def write_film(path: Path, film_THWC: np.ndarray, fps: int = FRAMES_PER_S) -> None:
    """Write a film as GIF or mp4, by the ending of `path`; whole or not at all."""
    with whole_file(path) as temporary:
        if path.suffix == ".gif":
            first, *rest = (
                Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in film_THWC
            )
            first.save(temporary, "GIF", save_all=True, append_images=rest, duration=1000 // fps, loop=0)
        else:
            _write_mp4(temporary, film_THWC, fps)


def _write_mp4(path: Path, film_THWC: np.ndarray, fps: int) -> None:
    """H.264 that plays everywhere: half the colours' resolution loses none of pixels twice as large."""
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "veryfast"})
        stream.height, stream.width = film_THWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in film_THWC:
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
            )
        container.mux(stream.encode(None))
