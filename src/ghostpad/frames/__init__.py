"""The frame store: recordings become memory-mapped frames, split by episode, read as pairs and batches.

`open_data` makes or updates a `FrameStore`, `Transitions` indexes its pairs of frames, `BatchLoader` feeds
training. Nothing here knows a model or a game.
"""

from typing import TYPE_CHECKING

from ghostpad.lazy import lazy_exports

if TYPE_CHECKING:
    from ghostpad.frames.batches import Batch, BatchLoader
    from ghostpad.frames.ingest import open_data
    from ghostpad.frames.pairs import FramePairDataset, Transitions
    from ghostpad.frames.store import FrameStore

__all__ = ["Batch", "BatchLoader", "FramePairDataset", "FrameStore", "Transitions", "open_data"]
# Workers that decode frames must not load torch.
_MODULES = ("batches", "batches", "pairs", "store", "pairs", "ingest")
__getattr__ = lazy_exports(__name__, dict(zip(__all__, _MODULES, strict=True)))
