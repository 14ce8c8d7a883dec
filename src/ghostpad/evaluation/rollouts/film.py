"""Films of open-loop rollouts: a world beside the emulator, under the same controls.

Dimensions: T frames, H W frame, C colour channels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ghostpad.buttons.control_map import ControlMap
from ghostpad.errors import UserError
from ghostpad.evaluation.rollouts.open_loop import Start, draw_starts, open_loop_steps
from ghostpad.frames.store import FrameStore
from ghostpad.io import whole_file
from ghostpad.world.world_model import WorldModel

FORMATS = (".gif", ".mp4")
FRAMES_PER_S = 15
"""The speed of an Atari console at frame skip 4."""
_ENLARGED, _CAPTION, _GAP = 2, 24, 8


@dataclass(frozen=True)
class Film:
    """One open-loop rollout; T frames, the start first.

    Attributes:
        imagined: (T, H, W, 3) uint8, frames of the world.
        true: (T, H, W, 3) uint8, frames of the emulator.
        controls: (T,) held on the way to each frame, -1 at the start.
        buttons: (T,) pressed in the world for them, -1 at the start.
        control_names: by control.
    """

    imagined: np.ndarray
    true: np.ndarray
    controls: np.ndarray
    buttons: np.ndarray
    control_names: tuple[str, ...]


def film_rollout(
    world: WorldModel, control_map: ControlMap, store: FrameStore, start: Start, num_frames: int, seed: int
) -> Film:
    """An open-loop rollout from one start, which ends with the emulator's game at the latest.

    Raises:
        UserError: as in `open_loop_steps`.
    """
    steps = []
    for step in open_loop_steps(world, control_map, store, [start], num_frames, seed):
        steps.append(step)
        if step.over[0]:
            break
    imagined, true = (
        np.broadcast_to(np.stack(frames).transpose(0, 2, 3, 1), (len(steps), *frames[0].shape[1:], 3))
        for frames in ([step.imagined[0] for step in steps], [step.true[0] for step in steps])
    )
    controls, buttons = (
        np.array(n) for n in zip(*((s.controls[0], s.buttons[0]) for s in steps), strict=True)
    )
    return Film(imagined, true, controls, buttons, tuple(store.control_names(start.episode_index) or ()))


def write_rollout_film(
    world: WorldModel,
    control_map: ControlMap,
    store: FrameStore,
    path: Path,
    num_frames: int = 300,
    seed: int = 0,
) -> Film:
    """Write a film of a world beside the emulator, from a held-out start that `seed` draws.

    Args:
        world: in evaluation mode.
        control_map: the button for each control.
        store: recordings with controls, of a game with a scripted player.
        path: file to write; `.gif` or `.mp4` by its suffix.
        num_frames: at least 1.
        seed: of the start and of the player.

    Raises:
        UserError: the suffix is another, or as in `open_loop_steps`.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: the name of a film must end in {' or '.join(FORMATS)}")
    (start,) = draw_starts(world, store, 1, seed)
    film = film_rollout(world, control_map, store, start, num_frames, seed)
    write_film(path, draw_film(film))
    return film


def draw_film(film: Film) -> np.ndarray:
    """The frames of the film: (T, height, width, 3) uint8, enlarged twice below a line of text."""
    both = [np.repeat(np.repeat(p, _ENLARGED, 1), _ENLARGED, 2) for p in (film.imagined, film.true)]
    num, height, width, _ = both[0].shape
    drawn = np.zeros((num, _CAPTION + height, 2 * width + _GAP, 3), np.uint8)
    drawn[:, _CAPTION:, :width], drawn[:, _CAPTION:, width + _GAP :] = both
    font = ImageFont.load_default(14)
    for step in range(num):
        held = "recorded"
        if film.controls[step] >= 0:
            held = f"{film.control_names[film.controls[step]]}   button {film.buttons[step]}"
        strip = Image.new("L", (drawn.shape[2], _CAPTION))
        pen = ImageDraw.Draw(strip)
        pen.text((4, 3), f"world   step {step}   {held}", 255, font)
        pen.text((width + _GAP + 4, 3), "emulator", 255, font)
        drawn[step, :_CAPTION] = np.asarray(strip)[..., None]
    return drawn


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
