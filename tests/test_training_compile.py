"""Compiling changes no number, and no step breaks a compiled graph."""

from pathlib import Path

import pytest
import torch

from ghostpad.errors import UserError
from ghostpad.frames.store import FrameStore
from ghostpad.machine import resolve_compile
from ghostpad.model import QuantizerConfig
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.latent_action import make_loop
from ghostpad.training.loop import Loop
from small_run import small_architecture, small_run

CPU = torch.device("cpu")


def loop(store: FrameStore, kind: str, reconstruction: str, checkpointing: bool = False) -> Loop:
    quantizer = QuantizerConfig(16, 8, warmup_steps=2, reset_every=2, kind=kind, levels=(4, 4))  # type: ignore[arg-type]
    config = small_run(
        store.path,
        Path("unused"),
        accumulate=2,
        downsample=4,
        model=small_architecture(quantizer=quantizer, reconstruction=reconstruction),
        checkpointing=checkpointing,
    )
    return make_loop(config, store, ProcessGroup(CPU))


@pytest.mark.parametrize(("kind", "reconstruction"), [("vq", "palette"), ("nsvq", "mse"), ("vq_ema", "mse")])
def test_compiled_steps_are_the_same_in_one_graph(store: FrameStore, kind: str, reconstruction: str) -> None:
    """The same losses and codes before and after the codebook starts, with nothing that breaks the graph."""
    torch._dynamo.reset()
    eager, compiled = loop(store, kind, reconstruction), loop(store, kind, reconstruction)
    in_one = kind != "vq_ema"  # the library's averages are gathered between two graphs
    compiled.prepared.parallel = torch.compile(compiled.model, backend="aot_eager", fullgraph=in_one)  # type: ignore[assignment]
    for _ in range(5):
        one, other = eager.train_step(), compiled.train_step()
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert float(value) == pytest.approx(float(other[name]), rel=1e-4, abs=1e-6), name
    counts = [part.model.quantizer.use_counts for part in (eager, compiled)]  # type: ignore[union-attr]
    assert torch.equal(*counts)
    assert eager.model.quantizer.quantizing  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("device", "processes", "accumulate", "chosen"),
    [("cuda", 1, 1, "graphs"), ("cuda", 8, 1, "yes"), ("cuda", 1, 2, "yes"), ("cpu", 1, 1, "no")],
)
def test_the_default_compile_mode_fits_device(
    device: str, processes: int, accumulate: int, chosen: str
) -> None:
    assert resolve_compile("auto", torch.device(device), processes, accumulate) == chosen
    if device == "cpu":
        with pytest.raises(UserError, match="--compile yes needs a GPU"):
            resolve_compile("yes", torch.device(device), processes, accumulate)
    else:
        assert resolve_compile("yes", torch.device(device), processes, accumulate) == "yes"
    if chosen != "graphs":
        with pytest.raises(UserError, match="--compile yes"):
            resolve_compile("graphs", torch.device(device), processes, accumulate)
