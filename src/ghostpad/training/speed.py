"""How fast one setting trains, and where its time goes: data, the step itself, and both together."""

import dataclasses
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from ghostpad.frames.ingest import open_data
from ghostpad.machine import num_cores, peak_memory_mb, resolve_device
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.latent_action import TrainConfig, make_loop
from ghostpad.training.loop import Loop

BLOCK_SECONDS = 0.2


@dataclass(frozen=True)
class Speed:
    """What was measured of one setting.

    Attributes:
        batch_size: pairs of a step.
        precision: arithmetic that was really used.
        compile: as given.
        step_seconds: a whole step, data included.
        resident_seconds: a step on one batch that lies ready.
        data_seconds: getting a batch ready, alone.
        memory_gb: most memory (GiB) for model, optimizer and activations: of the GPU, else of the process.
        busy: share of the time in which the GPU, or the cores, computed; None when nobody can tell.
        failure: why there are no numbers, or "".
    """

    batch_size: int
    precision: str
    compile: str
    step_seconds: float = float("nan")
    resident_seconds: float = float("nan")
    data_seconds: float = float("nan")
    memory_gb: float = float("nan")
    busy: float | None = None
    failure: str = ""

    @property
    def pairs_per_second(self) -> float:
        """Throughput with everything included."""
        return self.batch_size / self.step_seconds


def measure_apart(config: TrainConfig, seconds: float) -> Speed:
    """Measure in a process of its own: memory starts from zero, and running out of it ends that one alone."""
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe(duplex=False)
    child = processes.Process(target=_measure_into, args=(theirs, config, seconds))
    child.start()
    theirs.close()
    try:
        told = ours.recv()
    except EOFError:
        told = "ended by the system, most likely out of memory"
    child.join()
    if isinstance(told, Speed):
        return told
    return Speed(config.batch_size, config.precision, config.compile, failure=told)


def _measure_into(pipe: Connection, config: TrainConfig, seconds: float) -> None:
    try:
        pipe.send(measure(config, seconds))
    except Exception as error:  # whatever a setting fails with is a result
        lines = str(error).strip().splitlines()
        pipe.send("out of memory" if "out of memory" in str(error) else lines[0] if lines else repr(error))


def measure(config: TrainConfig, seconds: float) -> Speed:
    """Train for about three times `seconds` and take the times; nothing is written."""
    # The codebook is started by the first step, so that all steps quantize.
    quantizer = dataclasses.replace(config.model.quantizer, warmup_steps=0)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, quantizer=quantizer))
    device = resolve_device(config.device)
    store = open_data(config.data, config.workers)
    before = _resident_mb()
    loop = make_loop(config, store, ProcessGroup(device))
    loop.model.train()
    for _ in range(2 if config.compile == "no" else 5):
        loop.train_step()
    wall, computed = time.perf_counter(), time.process_time()
    step_seconds = _timed(loop.train_step, seconds, device)
    cores = (time.process_time() - computed) / (time.perf_counter() - wall) / num_cores()
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    memory = memory or (peak_memory_mb() - before) / 1024
    rows = loop.sampler.rows(loop.step)
    data_seconds = _timed(lambda: loop.task.batch(rows, 0), seconds / 4, device)
    resident = loop.task.batch(rows[: config.batch_size // config.accumulate], 0)
    loop.task.batch, loop.task.expect = (lambda rows, step: resident), None
    resident_seconds = _timed(loop.train_step, seconds, device)
    busy = _gpu_busy(loop, device) if device.type == "cuda" else min(cores, 1.0)
    numbers = (step_seconds, resident_seconds, data_seconds, memory, busy)
    return Speed(config.batch_size, loop.precision, config.compile, *numbers)


def _timed(work: Callable[[], object], seconds: float, device: torch.device) -> float:
    """Median seconds a call, over blocks of calls that only wait for the device at their ends."""
    _wait(device)
    times: list[float] = []
    per_block, started = 1, time.perf_counter()
    while not times or time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        for _ in range(per_block):
            work()
        _wait(device)
        times.append((time.perf_counter() - begun) / per_block)
        if len(times) == 1 and per_block == 1 and times[0] < BLOCK_SECONDS:
            per_block, times = max(2, int(BLOCK_SECONDS / times[0])), []
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _gpu_busy(loop: Loop, device: torch.device) -> float | None:
    """Share of the time with a kernel running, from the profiler, so that no driver library is needed."""
    from torch.profiler import ProfilerActivity, profile

    steps = 5
    _wait(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        started = time.perf_counter()
        for _ in range(steps):
            loop.train_step()
        _wait(device)
        wall = time.perf_counter() - started
    kernels = sum(event.self_device_time_total for event in profiled.key_averages()) / 1e6
    return min(kernels / wall, 1.0) if kernels else None


def _resident_mb() -> float:
    """Memory that this process takes now, in MiB."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return peak_memory_mb()
