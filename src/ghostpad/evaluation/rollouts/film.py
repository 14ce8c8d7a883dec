"""Films of open-loop rollouts: a world beside the emulator, under the same controls.

Dimensions: T frames, H W frame, C colour channels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.evaluation.rollouts.open_loop import OpenLoopStep, Start, draw_starts, open_loop_steps
from ghostpad.frames.store import FrameStore
from ghostpad.io import whole_file
from ghostpad.world.world_model import WorldModel

FORMATS = (".gif", ".mp4")
FRAMES_PER_S = 15  # the speed of an Atari console at frame skip 4
_ENLARGED, _CAPTION, _GAP = 2, 24, 8


def film_rollout(
    world: WorldModel, control_map: ControlMap, store: FrameStore, start: Start, num_frames: int, seed: int
) -> list[OpenLoopStep]:
    """An open-loop rollout from one start, which ends with the emulator's game at the latest."""
    steps = []
    for step in open_loop_steps(world, control_map, store, [start], num_frames, seed):
        steps.append(step)
        if step.over[0]:
            break
    return steps


def write_rollout_film(
    world: WorldModel,
    control_map: ControlMap,
    store: FrameStore,
    path: Path,
    num_frames: int = 300,
    seed: int = 0,
) -> list[OpenLoopStep]:
    """Write a GIF or mp4, by the suffix of `path`, of a world beside the emulator from a held-out start.

    Raises:
        UserError: the suffix is another, or as in `open_loop`.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: the name of a film must end in {' or '.join(FORMATS)}")
    (start,) = draw_starts(world, store, 1, seed)
    steps = film_rollout(world, control_map, store, start, num_frames, seed)
    write_film(path, draw_film(steps, store.control_names(start.episode_index) or ()))
    return steps


def draw_film(steps: Sequence[OpenLoopStep], control_names: Sequence[str]) -> np.ndarray:
    """Frames (T, height, width, 3) uint8 of a film: world and emulator, enlarged, below a line of text."""
    font, drawn = ImageFont.load_default(14), []
    for number, step in enumerate(steps):
        imagined, true = (
            np.broadcast_to(frames[0].transpose(1, 2, 0), (*frames.shape[2:], 3))
            .repeat(_ENLARGED, 0)
            .repeat(_ENLARGED, 1)
            for frames in (step.imagined, step.true)
        )
        both = np.hstack([imagined, np.zeros((len(true), _GAP, 3), np.uint8), true])
        picture = Image.fromarray(np.pad(both, ((_CAPTION, 0), (0, 0), (0, 0))))
        control, held = step.controls[0], "recorded"
        if control >= 0:
            held = f"{control_names[control]}   button {step.buttons[0]}"
        pen = ImageDraw.Draw(picture)
        pen.text((4, 3), f"world   step {number}   {held}", "white", font)
        pen.text((imagined.shape[1] + _GAP + 4, 3), "emulator", "white", font)
        drawn.append(np.asarray(picture))
    return np.stack(drawn)


def write_film(path: Path, film_THWC: np.ndarray, fps: int = FRAMES_PER_S) -> None:
    """Write frames as GIF or mp4, by the suffix of `path`, atomically."""
    with whole_file(path) as temporary:
        if path.suffix == ".gif":
            first, *rest = (
                Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in film_THWC
            )
            first.save(temporary, "GIF", save_all=True, append_images=rest, duration=1000 // fps, loop=0)
        else:
            _write_mp4(temporary, film_THWC, fps)


def _write_mp4(path: Path, film_THWC: np.ndarray, fps: int) -> None:
    """H.264 in yuv420p, which every player reads; enlarged pixels survive its halved colour resolution."""
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
