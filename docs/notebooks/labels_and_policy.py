# %% [markdown]
# # Labels and a small policy
#
# A player is recorded, every transition is labelled with a button that nothing but the pictures gave, and
# a small network learns to press the buttons. The recorded controls serve only to judge the result. Needs
# the extra `atari`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pyarrow.dataset
import torch

from ghostpad import LatentActionDataset
from ghostpad.cli import main as ghostpad

# %% [markdown]
# ## Record and label
#
# The verbs of the command line, called from Python: `ghostpad(["record", …])` does what `ghostpad record
# …` does. `--buttons` infers six buttons from motion. With so short a recording they are rough.

# %%
ghostpad(
    ["record", "--episodes", "6", "--max-frames", "100", "--policy", "tracker", "--out", "policy_videos"]
)
labelling = "--model breakout-sharp --data policy_videos --out policy_labels --buttons --num-buttons 6"
ghostpad(["extract", *labelling.split()])

# %% [markdown]
# ## Look at the labels
#
# Labels are Parquet: one row per transition, with its place, its codes, its button and, where it was
# recorded, the control.

# %%
columns = ["episode_index", "frame_index", "button", "control"]
labels = pyarrow.dataset.dataset("policy_labels", exclude_invalid_files=True).to_table(columns)
episode, frame, button, control = (labels[name].to_numpy() for name in columns)
print(labels.slice(0, 5).to_pylist())

together = np.zeros((button.max() + 1, control.max() + 1), int)
np.add.at(together, (button, control), 1)
plt.imshow(together, cmap="inferno")
plt.xlabel("recorded control")
plt.ylabel("button")
plt.show()

# %% [markdown]
# ## Train
#
# `LatentActionDataset` reads the frames. The policy sees one frame at a quarter of its size and names the
# button. Whole episodes are held out.


# %%
def examples(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Small frames (N, 1, 52, 40) and buttons (N,) of a split."""
    dataset = LatentActionDataset("policy_labels", split=split, grayscale=True)
    button_at = dict(zip(zip(episode, frame, strict=True), button, strict=True))
    held = [button_at[place] for place in zip(dataset.episode_index, dataset.frame_index, strict=True)]
    frames = torch.stack([dataset[n][0] for n in range(len(dataset))])
    return torch.nn.functional.interpolate(frames, (52, 40), mode="area"), torch.tensor(held).long()


torch.manual_seed(0)
(frames, buttons), (test_frames, test_buttons) = examples("train"), examples("test")
policy = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(52 * 40, 64), torch.nn.ReLU(), torch.nn.Linear(64, len(together))
)
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
for _ in range(200):
    rows = torch.randint(len(frames), (64,))
    loss = torch.nn.functional.cross_entropy(policy(frames[rows] - frames.mean(0)), buttons[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# ## Judge
#
# The share of held-out transitions whose button it names, beside the share of the most frequent button.
# With six short episodes there is little to learn from; more episodes help.

# %%
named = (policy(test_frames - frames.mean(0)).argmax(1) == test_buttons).float().mean().item()
chance = (test_buttons == buttons.bincount().argmax()).float().mean().item()
print(f"{named:.0%} of {len(test_buttons)} held-out buttons named; the most frequent one alone: {chance:.0%}")
