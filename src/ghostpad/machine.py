"""What this machine offers: device, cores, memory."""

import ctypes
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ghostpad.errors import UserError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str) -> "torch.device":
    """Turn `auto`, `cpu`, `cuda`, `cuda:1` or `mps` into a device that is really there.

    Raises:
        UserError: the name is unknown or the device is not available here.
    """
    import torch  # here, so that counting cores does not load it

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: unknown device; use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: there is no such GPU here; use --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"--device {name}: there is no such GPU here; use --device cpu")
    return device


def resolve_precision(name: str, device: "torch.device") -> str:
    """Turn `auto` into `bf16` where the hardware computes with it at full speed, else `fp32`."""
    import torch

    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # PyTorch has no public question for this; on CPUs without these instructions bf16 is slower than fp32.
    asked = [getattr(torch.cpu, f"_is_{kind}_supported", None) for kind in ("avx512_bf16", "amx_tile")]
    return "bf16" if device.type == "cpu" and any(ask is not None and ask() for ask in asked) else "fp32"


def resolve_compile(name: str, device: "torch.device", world_size: int, accumulate: int) -> str:
    """Turn `auto` into `graphs` on one GPU, `yes` on many or with micro-batches, `no` on a CPU.

    A CUDA graph cannot hold messages between processes, and overwrites the gradients that it gave before.

    Raises:
        UserError: compiling or graphs were asked for where they cannot be.
    """
    fits = world_size == 1 and accumulate == 1
    if name == "graphs" and not (fits and device.type == "cuda"):
        raise UserError(
            "--compile graphs needs one GPU and no --accumulate; use --compile yes, or no on a CPU"
        )
    if name == "yes" and device.type == "cpu":
        raise UserError("--compile yes needs a GPU; use --compile no on a CPU")
    if name != "auto":
        return name
    return "no" if device.type != "cuda" else "graphs" if fits else "yes"


def keep_freed_memory() -> None:
    """Let this process reuse the memory that it frees, instead of returning it to the system at once.

    By default glibc maps every large array anew, and the system clears each of its pages when it is first
    touched: a fifth of a training step on a CPU. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_max, arena_max = -1, -4, -8  # from malloc.h
        mallopt(arena_max, 1)
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)


def num_cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def peak_memory_mb() -> float:
    """Peak resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: on Linux a process starts with its parent's.
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
