"""The processes that train together, joined by gloo (CPU) or NCCL (GPU), and the signals that stop them."""

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ghostpad.errors import UserError

T = TypeVar("T")
# One process may ingest or validate for hours while the others wait; torchrun ends all when one dies.
TIMEOUT = timedelta(hours=24)
PARENT_CHECK_SECONDS = 1.0


@dataclass(frozen=True)
class ProcessGroup:
    """This process on its device, as number `rank` of `world_size`."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def shard(self, batch_size: int) -> slice:
        """This process's rows of a global batch."""
        size = batch_size // self.world_size
        return slice(self.rank * size, (self.rank + 1) * size)

    def parallel(self, model: nn.Module) -> nn.Module:
        """Wrap a model so that gradients are averaged over processes.

        Buffers are not broadcast: batch norm, codebook counts and entropy gather their own statistics.
        """
        if self.world_size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        with warnings.catch_warnings():
            # PyTorch 2.13 deprecates the argument's name, but 2.6 knows no other.
            warnings.simplefilter("ignore", FutureWarning)
            return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def broadcast(self, function: Callable[[], T]) -> T:
        """Call `function` in the first process only and return its result, plain data, in all of them.

        Raises:
            UserError: `function` raised it; every process does.
        """
        if self.world_size == 1:
            return function()
        results: list[T | UserError | None] = [None]
        if self.is_first:
            try:
                results[0] = function()
            except UserError as error:
                results[0] = error
        dist.broadcast_object_list(results, src=0)
        if isinstance(results[0], UserError):
            raise results[0]
        return results[0]  # type: ignore[return-value]

    def mean(self, values: Tensor) -> Tensor:
        """Mean over all processes."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values / self.world_size

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; a synchronization point."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)


def exit_with_parent() -> None:
    """End this process when its parent is killed.

    Otherwise the processes of a killed torchrun wait for each other and hold GPUs and files.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, or be a group of one.

    Every process exits on a user's mistake or an interruption; only the first reports it.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield ProcessGroup(device)
        return
    exit_with_parent()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    group = ProcessGroup(device, dist.get_rank(), world_size)
    try:
        yield group
    except (UserError, KeyboardInterrupt) as error:
        if group.is_first:
            raise
        raise SystemExit(2 if isinstance(error, UserError) else 130) from None
    finally:
        # gloo's threads release tensors shortly after the result arrives, and need the GIL for it. Destroying
        # the group holds the GIL while it waits for them: without this pause it can deadlock.
        time.sleep(0.3)
        dist.destroy_process_group()


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """Set an event at the first Ctrl-C or SIGTERM, to stop between steps; the second acts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, _frame: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
