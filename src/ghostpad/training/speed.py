"""How fast one setting trains, with data and on a batch that is ready: measured for the verb `bench`."""

import dataclasses
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context

from ghostpad.frames.ingest import open_data
from ghostpad.machine import peak_memory_mb, resolve_device
from ghostpad.training.config import TrainConfig


@dataclass(frozen=True)
class Speed:
    """Measurements of one setting.

    Attributes:
        batch_size: pairs of a step.
        precision: as it was resolved.
        compile: as given.
        step_seconds: a whole step, data included.
        resident_seconds: a step on one batch that is ready on the device.
        memory_gb: peak memory (GiB) of the GPU, else how far the process grew.
        failure: why there are no measurements, or "".
    """

    batch_size: int
    precision: str
    compile: str
    step_seconds: float = float("nan")
    resident_seconds: float = float("nan")
    memory_gb: float = float("nan")
    failure: str = ""

    @property
    def pairs_per_second(self) -> float:
        """Throughput, data included."""
        return self.batch_size / self.step_seconds

    @property
    def data_share(self) -> float:
        """Share of a step that waits for data."""
        return max(0.0, 1 - self.resident_seconds / self.step_seconds)


def measure_apart(config: TrainConfig, seconds: float) -> Speed:
    """Measure in a new process: its memory starts from zero, and only it ends when memory runs out."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(measure, config, seconds).result()
        except BrokenProcessPool:
            failure = "killed, most likely out of memory"
        except Exception as error:  # a setting that fails is a result
            message = str(error).strip() or repr(error)
            failure = "out of memory" if "out of memory" in message else message.splitlines()[0]
    return Speed(config.batch_size, config.precision, config.compile, failure=failure)


def measure(config: TrainConfig, seconds: float) -> Speed:
    """Train for about twice `seconds`; nothing is written."""
    import torch  # here, so that `ghostpad bench --help` does not load it
    from torch.utils.benchmark import Timer

    from ghostpad.training.distributed import ProcessGroup
    from ghostpad.training.latent_action import make_loop

    # The first step initializes the codebook, so that all others quantize.
    quantizer = dataclasses.replace(config.model.quantizer, warmup_steps=0)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, quantizer=quantizer))
    device = resolve_device(config.device)
    store, before = open_data(config.data, config.workers), peak_memory_mb()
    loop = make_loop(config, store, ProcessGroup(device))
    loop.model.train()
    timer = Timer("step()", globals={"step": loop.train_step}, num_threads=torch.get_num_threads())
    timer.timeit(2 if config.compile == "no" else 5)  # fills caches and compiles
    number = max(2, round(seconds / timer.timeit(1).mean))
    step_seconds = timer.timeit(number).mean
    memory_gb = (peak_memory_mb() - before) / 1024
    if device.type == "cuda":
        memory_gb = torch.cuda.max_memory_allocated(device) / 2**30
    resident = loop.task.batch(loop.sampler.rows(0)[: config.batch_size // config.accumulate], 0)
    loop.task.batch, loop.task.prefetch = (lambda rows, step: resident), None
    resident_seconds = timer.timeit(number).mean
    names = (config.batch_size, loop.prepared.precision, config.compile)
    return Speed(*names, step_seconds, resident_seconds, memory_gb)
