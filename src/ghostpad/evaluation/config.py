"""Options of the verbs `evaluate`, `doctor` and `controls`.

They stand apart from the code they configure, so that `--help` does not load torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Amounts:
    """How much to measure; drawn by the seed where there is more."""

    transitions: int | None = None
    """most transitions of the split, in blocks of neighbours; all when not given"""
    ssim: int = 512
    """transitions whose SSIM is taken"""
    counterfactual: int = 1024
    """transitions that are also decoded with the codes of others (ΔPSNR, leak test)"""
    other_splits: int = 512
    """transitions of each other split, to compare with"""
    probe: int = 4096
    """training transitions on which the probe for the controls is fitted"""
    ceiling_seeds: int = 3
    """networks whose mean accuracy is the supervised ceiling of agreement; 0 for no ceiling"""
    branches: int = 2048
    """branches of training and of held-out episodes each whose codes are compared; see `record --branches`"""
    buttons: int = 12
    """buttons inferred from motion (as by `extract --buttons`) and compared on branches too; 0 for none"""
    examples: int = 36
    """transitions shown in the report"""
    galleries: int = 96
    """codes shown in the report"""
    tsne: int = 1000
    """transitions on the t-SNE map; 0 for no t-SNE"""


@dataclass(frozen=True)
class EvaluateConfig:
    """What to evaluate, on what, and how much of it."""

    model: Path = Path("checkpoints/latent_action")
    """folder of a training run (its best.pt, else last.pt), a checkpoint, or a shipped name"""
    data: Path = Path("bulk_videos")
    """folder of episodes or a frame store"""
    split: Literal["train", "validation", "test"] = "test"
    """episodes to measure on"""
    out: Path = Path("reports/latent_action")
    """folder for report.html and metrics.json"""
    compare: tuple[Path, ...] = ()
    """more models, measured on the same transitions"""
    amounts: Amounts = field(default_factory=Amounts)
    """how many transitions, codes and labels to use"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    seed: int = 0
    """seed of every random choice"""
    workers: int | None = None
    """processes for ingesting a folder; all cores when not given"""


@dataclass(frozen=True)
class DoctorConfig:
    """Options of `ghostpad doctor`."""

    data: Path = Path("bulk_videos")
    """folder of episodes or a frame store"""
    model: Path | None = None
    """folder of a training run, a checkpoint, or a shipped name; only the data is judged when not given"""
    out: Path | None = None
    """folder for doctor.html and doctor.json; none are written when not given"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N; for the model"""
    seed: int = 0
    """seed of every random choice"""
    workers: int | None = None
    """processes for ingesting a folder; all cores when not given"""


@dataclass(frozen=True)
class ControlsConfig:
    """Options of `ghostpad controls`."""

    world: str = "checkpoints/world"
    """world (folder, file or shipped name) whose buttons are tied to controls"""
    buttons: Path | None = None
    """labels folder with buttons (ghostpad extract --buttons) to tie to controls instead of a world's"""
    data: Path | None = None
    """folder of episodes or a frame store; bulk_videos, or the store of the labels, when not given"""
    labels: int | None = None
    """labelled transitions to fit the map to; all that are drawn when not given"""
    labels_file: Path | None = None
    """csv file with episode,frame,control; the recorded controls when not given"""
    ask: int | None = None
    """write a page that asks for the controls of so many transitions whose labels help most, and stop"""
    out: Path | None = None
    """folder for controls.json and controls.png; the world's or the labels' own when not given"""
    transitions: int = 2048
    """transitions to draw at most, from training and from test episodes each"""
    ceiling_seeds: int = 3
    """networks whose mean accuracy is the supervised ceiling; 0 for no ceiling"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    seed: int = 0
    """seed of the draws"""
    workers: int | None = None
    """processes for reading episodes and inferring buttons; all cores when not given"""
