"""Settings of a training run of a world model."""

from dataclasses import dataclass, field
from pathlib import Path

from ghostpad.errors import UserError
from ghostpad.training.schedule import OptimizerConfig
from ghostpad.training.task import LoopConfig
from ghostpad.world.dynamics import DynamicsConfig

LEAST_WINDOW = 3


@dataclass(frozen=True)
class WorldConfig(LoopConfig):
    """Everything about a training run of a world model."""

    model: str = "checkpoints/latent_action"
    """the latent action model: a folder, a file or a shipped name"""
    data: Path = Path("bulk_videos")
    """folder of episodes, or a frame store"""
    out: Path = Path("checkpoints/world")
    """folder for checkpoints, metrics and what was found"""
    steps: int = 3_000
    """optimizer steps of the whole run (its schedule ends there)"""
    batch_size: int = 12
    """transitions per optimizer step; with --window in windows, and a quarter as many rollouts beside them"""
    window: int = 0
    """cells of a window's side; 0 for whole frames, in which what is steered is known everywhere"""
    validate_every: int = 500
    """steps between validations; best.pt is chosen by them"""
    validation_pairs: int = 64
    """held-out rollouts of a validation, drawn once by the seed; 0 for all"""
    validation_micro_batch: int = 0
    """rollouts of the small rotating validation at each step; 0 for none"""
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    """the dynamics"""
    buttons_until: float = 0.3
    """share of the training in which buttons are found, or learned from the labels where there are any"""
    past_share: float = 0.33
    """share of that in which one button stands for all, so that the past is first; none with --start-from"""
    rollouts_from: float = 0.75
    """share of the training after which rollouts take the place of recorded whole frames"""
    movement_steps: int = 3_000
    """optimizer steps before all others, to learn where what moves goes; 0 leaves that to the codes"""
    lapses: float = 0.3
    """share of recorded transitions from whose newest frames something is missing, or in them twice"""
    first_temperature: float = 10.0
    """how softly transitions are assigned to buttons at the start (falls to 1)"""
    reconstruction_weight: float = 0.0
    """weight of the drawn frame's loss beside the codes' cross-entropy; 0 leaves the decoder as it is"""
    divergence_db: float = 43.0
    """PSNR against the recording below which a frame of a rollout in training differs too much"""
    patience: int = 2
    """frames in a row that may differ too much; then the rollout starts afresh"""
    rollout_length: float = 30.0
    """mean transitions after which a rollout in training starts afresh anyway"""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(2e-3, 2e-5, ramp_steps=50))
    labels: int = 0
    """labelled transitions that tell what a button means; 0 learns without any"""
    starts: int = 20
    """held-out starts from which the world is measured beside the emulator; 0 for none"""
    start_from: str | None = None
    """trained world model (folder, file or shipped name) to start from; its buttons stay"""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N"""
    workers: int | None = None
    """processes for reading episodes; all cores when not given"""

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            UserError: stages that fall back, or numbers out of their range.
        """
        stages = (0, self.buttons_until, self.rollouts_from, 1)
        if list(stages) != sorted(stages) or not 0 <= self.past_share < 1 or self.first_temperature < 1:
            raise UserError(
                "--buttons-until and --rollouts-from must lie in 0…1 and not fall, --past-share in 0…1, and "
                "--first-temperature be at least 1"
            )
        if self.movement_steps < 0:
            raise UserError(f"--movement-steps {self.movement_steps}: must be at least 0")
        if not 0 <= self.lapses <= 1:
            raise UserError(f"--lapses {self.lapses}: must lie in 0…1")
        if self.window < 0 or 0 < self.window < LEAST_WINDOW:
            raise UserError(f"--window {self.window}: must be at least {LEAST_WINDOW} cells, or 0")
