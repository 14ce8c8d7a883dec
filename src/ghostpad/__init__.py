"""Ghostpad works out the gamepad that was never recorded: discrete latent actions from gameplay video."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostpad.frames.store import FrameStore
    from ghostpad.labels.dataset import LatentActionDataset
    from ghostpad.model.latent_action_model import LatentActionModel
    from ghostpad.world.world_model import WorldModel

__version__ = "0.1.0"

_LAZY = {
    "LatentActionModel": "ghostpad.model.latent_action_model",
    "LatentActionDataset": "ghostpad.labels.dataset",
    "FrameStore": "ghostpad.frames.store",
    "WorldModel": "ghostpad.world.world_model",
}

__all__ = ["FrameStore", "LatentActionDataset", "LatentActionModel", "WorldModel", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the public classes on first use, so that `import ghostpad` costs nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'ghostpad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
