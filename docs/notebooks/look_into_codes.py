# %% [markdown]
# # Look into the codes
#
# What do the codes of a latent action model say? This notebook records four short games of Breakout,
# encodes them with the model `breakout-sharp` that comes with Ghostpad, and looks. It runs in seconds on
# two CPU cores and needs the extra `atari`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ghostpad import LatentActionModel
from ghostpad.frames import Transitions, open_data
from ghostpad.sources.recorder import RecordConfig, record

# %% [markdown]
# ## Frames and codes
#
# `record` writes PNG frames and, for Breakout, the true positions from the console's memory. `open_data`
# packs the frames into a store. `Transitions` indexes its pairs of frames.

# %%
record(RecordConfig(Path("codes_videos"), episodes=4, max_frames=80, policy="tracker", seed=1))
store = open_data(Path("codes_videos"))
transitions = Transitions(store, split=None)
frames, next_frames = transitions.read(slice(None), grayscale=False)  # (N, 3, 210, 160) uint8 each

model = LatentActionModel.from_pretrained("breakout-sharp")
codes = np.concatenate(
    [
        model.encode(frames[n : n + 32], next_frames[n : n + 32]).cpu().numpy()
        for n in range(0, len(frames), 32)
    ]
)
print(f"{len(codes)} transitions, {model.grid} codes each, out of {model.codebook_size}")

# %% [markdown]
# ## Most cells say that nothing happens
#
# Each cell has one code that it shows most of the time. The share of transitions in which it shows
# another is high where the ball flies and the paddle moves, and near zero elsewhere.

# %%
usual = np.array([np.bincount(cell).argmax() for cell in codes.reshape(len(codes), -1).T]).reshape(
    codes.shape[1:]
)
unusual = (codes != usual).mean(0)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 5))
left.imshow(frames[30].transpose(1, 2, 0))
left.set_title("a frame")
picture = right.imshow(unusual, aspect=(210 / 14) / (160 / 10), cmap="inferno")
right.set_title("share of transitions with an unusual code")
figure.colorbar(picture, ax=right)
plt.show()

# %% [markdown]
# ## The ball is where the codes are unusual
#
# The recording knows where the ball was. Compare cells with the ball in them with all others in the rows
# where it can fly freely.

# %%
ball_y, ball_x = (
    np.concatenate([store.truth(e)[name][1:] for e in range(len(store.episodes))])
    for name in ("ball_y", "ball_x")
)
cell_height, cell_width = 210 / codes.shape[1], 160 / codes.shape[2]
flies = (ball_y > 110) & (ball_y < 180)
rows, columns = (ball_y[flies] // cell_height).astype(int), (ball_x[flies] // cell_width).astype(int)
is_unusual = codes[flies] != usual
with_ball = is_unusual[np.arange(flies.sum()), rows, columns].mean()
print(f"a cell with the ball: unusual in {with_ball:.0%}; any cell: in {is_unusual.mean():.0%}")

# %% [markdown]
# ## Codes are instructions to the decoder
#
# Draw one frame with the codes of its own transition, and with those of another. With the right codes the
# drawing matches the next frame. With others the decoder does what they say, in the wrong place.

# %%
row, other = np.flatnonzero(flies)[[5, -5]]
drawn, wrong = (
    model.decode(frames[row : row + 1], codes[n : n + 1]).cpu().numpy()[0].transpose(1, 2, 0)
    for n in (row, other)
)
true = next_frames[row].transpose(1, 2, 0) / 255
for name, picture in (("its own codes", drawn), ("codes of another transition", wrong)):
    print(f"{name}: PSNR {-10 * np.log10(((picture - true) ** 2).mean()):.1f} dB")

figure, axes = plt.subplots(1, 3, figsize=(10, 4.5))
for axis, title, picture in zip(
    axes, ("next frame", "its own codes", "other codes"), (true, drawn, wrong), strict=True
):
    axis.imshow(picture.clip(0, 1))
    axis.set_title(title)
plt.show()
