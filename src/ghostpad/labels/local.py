"""The engine for this machine: shards are labelled in threads."""

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import torch

from ghostpad.frames.store import FrameStore
from ghostpad.labels.shards import Origin, RunEncoder, Shard, label_shard
from ghostpad.machine import num_cores
from ghostpad.progress import progress


class _Stopped(Exception):
    """Another thread failed, or the user interrupted."""


def label_locally(
    store: FrameStore,
    origin: Origin,
    shards: list[Shard],
    encoder: RunEncoder,
    out: Path,
    workers: int | None = None,
) -> None:
    """Label `shards` of `store` into the folder `out` in `workers` threads; None for one per core.

    Threads are enough: encoders and readers release Python's lock while they work.
    """
    stop = threading.Event()
    bar = progress(what="extract", unit="transitions", total=sum(shard.num_transitions for shard in shards))

    def advance(num_transitions: int) -> None:
        if stop.is_set():
            raise _Stopped
        bar.update(num_transitions)

    threads_per_call = torch.get_num_threads()
    torch.set_num_threads(1)  # shards are labelled in parallel instead
    try:
        with bar, ThreadPoolExecutor(workers or num_cores()) as pool:
            jobs = [pool.submit(label_shard, store, shard, encoder, origin, out, advance) for shard in shards]
            try:
                done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                for job in done:
                    job.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(threads_per_call)
