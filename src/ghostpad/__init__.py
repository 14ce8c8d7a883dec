"""Ghostpad works out the gamepad that nobody recorded: discrete latent actions from gameplay video."""

from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "LatentActionModel": "ghostpad.model.latent_action_model",
    "LatentActionDataset": "ghostpad.labels.dataset",
    "FrameStore": "ghostpad.frames.store",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    """Load the public classes on first use, so that `import ghostpad` costs nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'ghostpad' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
