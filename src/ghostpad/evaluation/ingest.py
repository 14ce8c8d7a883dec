"""The verb `ingest`: recordings become a frame store, and its action offset is measured if asked for."""

from dataclasses import replace

from ghostpad.frames.ingest import IngestConfig
from ghostpad.frames.ingest import ingest as ingest_frames
from ghostpad.frames.store import FrameStore
from ghostpad.frames.update import set_action_offset


def ingest(config: IngestConfig) -> FrameStore:
    """Make or update a frame store; with `action_offset="auto"`, measure the offset, and apply it if sure.

    Errors as for `ghostpad.frames.ingest.ingest`.
    """
    store = ingest_frames(config)
    if config.action_offset != "auto":
        return store
    from ghostpad.evaluation.action_offset import measure_action_offset  # loads torch

    found = measure_action_offset(replace(store, action_offset=0), config.seed)
    print(f"action offset: {found}")
    if not found.is_sure or found.offset is None:
        print(f"not sure, so the offset stays {store.action_offset:+d}; --action-offset N sets it")
        return store
    print("controls are read with this offset from now on; --action-offset 0 takes them as they are stored")
    return set_action_offset(store, found.offset, str(found))
