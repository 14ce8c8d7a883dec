"""Many processes as one: what torchrun starts, joined by gloo (CPU) or NCCL (GPU)."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ghostpad.errors import UserError

T = TypeVar("T")
# One process may take long to ingest or to validate while the others wait; torchrun ends all when one dies.
PATIENCE = timedelta(hours=24)
WATCH_SECONDS = 1.0


@dataclass(frozen=True)
class Ranks:
    """This process's place: `rank` of `world_size`, on `device`."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This process's part of a global batch."""
        size = batch_size // self.world_size
        return slice(self.rank * size, (self.rank + 1) * size)

    def parallel(self, model: nn.Module) -> nn.Module:
        """Wrap a model so that all processes get the mean of their gradients.

        Batch norm, codebook counts and entropy see all processes by themselves.
        """
        if self.world_size == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        with warnings.catch_warnings():
            # Torch 2.13 deprecates the name that 2.6 knows.
            warnings.simplefilter("ignore", FutureWarning)
            return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def told_by_first(self, work: Callable[[], T]) -> T:
        """Do `work` in the first process alone and tell all others what came out of it: plain data.

        Raises:
            UserError: `work` raised it; all processes do.
        """
        if self.world_size == 1:
            return work()
        told: list[T | UserError | None] = [None]
        if self.is_first:
            try:
                told[0] = work()
            except UserError as mistake:
                told[0] = mistake
        dist.broadcast_object_list(told, src=0)
        if isinstance(told[0], UserError):
            raise told[0]
        return told[0]  # type: ignore[return-value]

    def mean(self, values: Tensor) -> Tensor:
        """Mean over all processes."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values / self.world_size

    def any(self, flag: bool) -> bool:
        """Whether any process says so; waits for all of them."""
        if self.world_size == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)


def end_with_parent() -> None:
    """From now on end this process when the one that started it does, even if nobody could say goodbye.

    A killed torchrun cannot end its processes, which would wait for each other and hold GPUs and files.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started, or be the only one.

    A user's mistake and an interruption end all processes, and the first alone speaks of them.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks(0, 1, device)
        return
    end_with_parent()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    ranks = Ranks(dist.get_rank(), world_size, device)
    try:
        yield ranks
    except (UserError, KeyboardInterrupt) as error:
        if ranks.is_first:
            raise
        raise SystemExit(2 if isinstance(error, UserError) else 130) from None
    finally:
        # gloo's threads let go of tensors a little after the result is there, and need Python's lock for it;
        # freeing the group, which waits for them with the lock held, would wait for ever.
        time.sleep(0.3)
        dist.destroy_process_group()
