"""How fast a run is: pairs a second, memory, and how long the rest will take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ghostpad.machine import peak_memory_mb

# The first step sets caches up and compiles; the fifth tells the pace.
SETTLED_STEP, PACED_STEP = 1, 5


class Pace:
    """Watches the steps of a run.

    Args:
        batch_size: pairs of a step, over all processes.
        step: where the run starts or goes on from.
        device: what to wait for before looking at the clock.
    """

    def __init__(self, batch_size: int, step: int, device: torch.device) -> None:
        self.batch_size, self.device = batch_size, device
        self._first_step = self._seen_step = step
        self._seen_at = self._settled_at = time.perf_counter()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is no training: validation, pictures, files."""
        self._wait()
        started = time.perf_counter()
        yield
        self._seen_at += time.perf_counter() - started

    def look(self, step: int) -> dict[str, float]:
        """`pairs_per_second` since the last look, and the most memory (GiB) that was taken so far."""
        self._wait()
        now = time.perf_counter()
        pairs = (step - self._seen_step) * self.batch_size
        speed = pairs / max(now - self._seen_at, 1e-9)
        self._seen_at, self._seen_step = now, step
        if self.device.type == "cuda":
            return {"pairs_per_second": speed, "gpu_memory_gb": torch.cuda.max_memory_allocated() / 2**30}
        return {"pairs_per_second": speed, "memory_gb": peak_memory_mb() / 1024}

    def warning(self, step: int, end: int) -> str | None:
        """At the fifth step of a run: how long the rest will take, when that is more than an hour."""
        done = step - self._first_step
        if done not in (SETTLED_STEP, PACED_STEP):
            return None
        self._wait()
        now = time.perf_counter()
        if done == SETTLED_STEP:
            self._settled_at = now
            return None
        left = (now - self._settled_at) / (PACED_STEP - SETTLED_STEP) * (end - step)
        if left <= 3600:
            return None
        where = self.device.type.upper()
        return f"About {in_words(left)} for the {end - step} steps left on this {where}."

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def in_words(seconds: float) -> str:
    """A long time as people say it: "4 days", "5.5 hours", "40 minutes"."""
    hours = seconds / 3600
    if hours > 72:
        return f"{hours / 24:.0f} days"
    return f"{hours:.1f} hours" if hours > 1 else f"{60 * hours:.0f} minutes"
