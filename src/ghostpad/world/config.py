"""Settings of the dynamics and of a training run of a world model.

They stand apart from the code they configure, so that `ghostpad world --help` does not load torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ghostpad.errors import UserError
from ghostpad.training.config import LoopConfig, OptimizerConfig


@dataclass(frozen=True)
class DynamicsConfig:
    """Kind and sizes of the dynamics."""

    kind: str = "conv"
    """which dynamics; conv is a convolutional network over the grid of codes"""
    history: int = 8
    """frames that the next transition is predicted from, at least 2"""
    num_buttons: int = 8
    """number of buttons, 2 to 8"""
    widths: tuple[int, ...] = (48, 96, 128)
    """channels after a convolution of stride 4 over the frames, and after each of stride 2 that follows"""
    blocks: int = 3
    """residual blocks on the grid before the button is known"""
    button_blocks: int = 1
    """residual blocks on the grid after it is known"""


@dataclass(frozen=True)
class WorldConfig(LoopConfig):
    """Everything about a training run of a world model."""

    model: str = "checkpoints/latent_action"
    """the latent action model: a folder, a file or a shipped name"""
    data: Path = Path("bulk_videos")
    """folder of episodes, or a frame store"""
    out: Path = Path("checkpoints/world")
    """folder for checkpoints, metrics, start frames and a film"""
    objects: Literal["auto", "on", "off"] = "auto"
    """object prior: track moving objects and composite them; auto keeps it where it lowers held-out error"""
    steps: int = 3_000
    """optimizer steps of the whole run (its schedule ends there)"""
    batch_size: int = 12
    """transitions per optimizer step"""
    validate_every: int = 500
    """steps between validations, by which best.pt is chosen"""
    validation_pairs: int = 64
    """held-out rollouts of a validation, drawn once by the seed; 0 for all"""
    validation_micro_batch: int = 0
    """rollouts of the small rotating validation at each step; 0 for none"""
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    """the dynamics"""
    object_steps: int = 3_000
    """optimizer steps of the object networks, before all others; 0 trains none"""
    object_dropout: float = 0.3
    """share of recorded histories in whose newest frames an object is erased or doubled (augmentation)"""
    buttons_until: float = 0.3
    """share of the training in which buttons are inferred, or learned from labels where there are any"""
    warmup_share: float = 0.33
    """share of that in which one button stands for all, to learn the past first; none with --start-from"""
    rollouts_from: float = 0.75
    """share of the training after which the world's own rollouts take the place of recorded histories"""
    first_temperature: float = 10.0
    """softness of the assignment of transitions to buttons at the start (falls to 1)"""
    reconstruction_weight: float = 0.0
    """weight of the drawn frame's loss beside the codes' cross-entropy; 0 leaves the decoder as it is"""
    divergence_db: float | None = None
    """PSNR below which a frame of a rollout in training is off: 43 with objects, else that of copying"""
    patience: int = 2
    """frames in a row that may differ too much before a rollout is restarted"""
    rollout_length: float = 30.0
    """mean transitions after which a rollout in training is restarted anyway"""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(2e-3, 2e-5, ramp_steps=50))
    labels: int = 0
    """labelled transitions that say what a button means; 0 learns without any"""
    starts: int = 20
    """held-out start frames from which the world is measured beside the emulator; 0 for none"""
    start_from: str | None = None
    """trained world model (folder, file or shipped name) to start from; its buttons are kept"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: int | None = None
    """processes for reading episodes; all cores when not given"""

    def check(self) -> None:
        """Raise a UserError for stages that do not follow each other and numbers out of range."""
        stages = (0, self.buttons_until, self.rollouts_from, 1)
        if list(stages) != sorted(stages) or not 0 <= self.warmup_share < 1 or self.first_temperature < 1:
            raise UserError(
                "--buttons-until and --rollouts-from must lie in 0…1 and not fall, --warmup-share in 0…1, "
                "and --first-temperature must be at least 1"
            )
        if self.object_steps < 0:
            raise UserError(f"--object-steps {self.object_steps}: must be at least 0")
        if not 0 <= self.object_dropout <= 1:
            raise UserError(f"--object-dropout {self.object_dropout}: must lie in 0…1")
