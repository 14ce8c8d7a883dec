"""Ghostpad works out the gamepad that was never recorded: discrete latent actions from gameplay video."""

from typing import TYPE_CHECKING

from ghostpad.lazy import lazy_exports

if TYPE_CHECKING:
    from ghostpad.frames.store import FrameStore
    from ghostpad.labels.dataset import LatentActionDataset
    from ghostpad.model.latent_action_model import LatentActionModel
    from ghostpad.world.world_model import WorldModel

__version__ = "0.1.0"

__all__ = ["FrameStore", "LatentActionDataset", "LatentActionModel", "WorldModel", "__version__"]

__getattr__ = lazy_exports(
    __name__,
    {
        "FrameStore": "frames.store",
        "LatentActionDataset": "labels.dataset",
        "LatentActionModel": "model.latent_action_model",
        "WorldModel": "world.world_model",
    },
)
