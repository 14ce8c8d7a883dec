"""Draw the README's picture from what a demo made: `python benchmarks/readme_picture.py [demo]`.

Rows are transitions of held-out episodes; columns the frame, what came next, what the codes draw, the error
(four times as bright) and the codes.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from ghostpad import FrameStore, LatentActionModel
from ghostpad.frames.pairs import Transitions
from ghostpad.theme import SEQUENTIAL

COLUMNS = ("frame", "next frame", "drawn from the codes", "error", "codes")
OUT = Path(__file__).parent.parent / "docs" / "images" / "demo.png"


def lively_rows(transitions: Transitions, num: int = 3) -> np.ndarray:
    """Return transitions, two of an episode at most, in which a brick vanishes and a ball is flying."""
    rows = []
    for index in np.unique(transitions.episode_index):
        truth = transitions.store.truth(int(index))
        assert truth is not None, "the demo records the truth"
        of_episode = np.flatnonzero(transitions.episode_index == index)
        frame = transitions.frame_index[of_episode]
        broken = truth["bricks"].reshape(len(truth["bricks"]), -1).sum(1)
        hits = (broken[frame] > broken[frame + 1]) & (truth["ball_y"][frame + 1] >= 0)
        rows += list(of_episode[hits][1::7][:2])
    return np.array(rows[:num])


def main(demo: Path) -> None:
    """Draw and save."""
    model = LatentActionModel.from_pretrained(demo / "checkpoints" / "latent_action")
    transitions = Transitions(FrameStore.open(demo / "bulk_videos.store"), "test")
    rows = lively_rows(transitions)
    frames, next_frames = transitions.read(rows, model.grayscale)
    codes = model.encode(frames, next_frames)
    drawn = model.decode(frames, codes).cpu().numpy() * 255
    error = np.clip(4 * np.abs(drawn - next_frames), 0, 255)
    figure, axes = plt.subplots(len(rows), len(COLUMNS), figsize=(9, 2.4 * len(rows)), dpi=100, squeeze=False)
    for row in range(len(rows)):
        pictures = [frames[row], next_frames[row], drawn[row], error[row]]
        for axis, picture in zip(axes[row], pictures, strict=False):
            axis.imshow(picture.transpose(1, 2, 0).astype(np.uint8), cmap="gray", vmin=0, vmax=255)
        axes[row, 4].imshow(codes[row].cpu().numpy(), cmap=SEQUENTIAL, vmin=0, vmax=model.codebook_size - 1)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    for axis, title in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(title, fontsize=10)
    for axis in axes[:, 4]:
        height, width = model.grid
        axis.set_aspect(width / height * 210 / 160)
    figure.tight_layout(pad=0.4)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT)
    Image.open(OUT).convert("RGB").quantize(64).save(OUT, optimize=True)
    print(OUT, f"{OUT.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
