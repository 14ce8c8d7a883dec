"""The frame store: recordings become memory-mapped frames, split by episode, read as pairs and batches.

`open_data` makes or updates a `FrameStore`, `Transitions` indexes its pairs of frames, `BatchLoader` feeds
training. Nothing here knows a model or a game.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostpad.frames.batches import Batch, BatchLoader
    from ghostpad.frames.ingest import open_data
    from ghostpad.frames.pairs import FramePairDataset, Transitions
    from ghostpad.frames.store import FrameStore

__all__ = ["Batch", "BatchLoader", "FramePairDataset", "FrameStore", "Transitions", "open_data"]
_MODULES = dict(zip(__all__, ("batches", "batches", "pairs", "store", "pairs", "ingest"), strict=True))


def __getattr__(name: str) -> Any:
    """Load public names on first use: workers that decode frames must not load torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
