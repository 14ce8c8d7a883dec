"""Speed of a training, its memory, and the time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ghostpad.machine import peak_memory_mb
from ghostpad.progress import format_duration

# The first step fills caches and compiles, so the time left is estimated from the next four.
WARM_STEP, ESTIMATED_STEP = 1, 5
ANNOUNCED_SECONDS = 3600


class Throughput:
    """Times the steps of a run.

    Args:
        batch_size: pairs of a step, over all processes.
        step: where the run starts or resumes.
        device: synchronized before the clock is read.
    """

    def __init__(self, batch_size: int, step: int, device: torch.device) -> None:
        self.batch_size, self.device = batch_size, device
        self._first_step = self._measured_step = step
        self._measured_at = self._warm_at = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out validation, pictures and files."""
        started = self._now()
        yield
        self._measured_at += time.perf_counter() - started

    def metrics(self, step: int) -> dict[str, float]:
        """`pairs_per_second` since the last call, and peak memory in GiB."""
        now = self._now()
        speed = (step - self._measured_step) * self.batch_size / max(now - self._measured_at, 1e-9)
        self._measured_at, self._measured_step = now, step
        if self.device.type == "cuda":
            return {"pairs_per_second": speed, "gpu_memory_gb": torch.cuda.max_memory_allocated() / 2**30}
        return {"pairs_per_second": speed, "memory_gb": peak_memory_mb() / 1024}

    def estimate(self, step: int, end: int) -> str | None:
        """At the fifth step of a run: the time left, if it is more than an hour."""
        done = step - self._first_step
        if done == WARM_STEP:
            self._warm_at = self._now()
        if done != ESTIMATED_STEP:
            return None
        left = (self._now() - self._warm_at) / (ESTIMATED_STEP - WARM_STEP) * (end - step)
        if left <= ANNOUNCED_SECONDS:
            return None
        device = self.device.type.upper()
        return f"About {format_duration(left)} for the {end - step} steps left on this {device}."

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
