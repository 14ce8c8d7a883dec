"""Make the golden files: numbers that hold what the package does.

A refactor must reproduce these numbers. They say nothing about what is good. A number that is meant to
change is made anew with this script, in the commit that changes it, which says why.

    python tests/golden/make.py             # all files
    python tests/golden/make.py losses      # one of them

`tests/test_golden.py` runs the same functions and compares, by `TOLERANCES`. Everything runs in one thread,
in fp32, on the CPU. Hashes, counts and names must be the same; where a hash differs the test says which step
differs first.

Curves of learning (`losses`, `world_training`) are chaotic: where sums are taken in another order, a relative
1e-7 of the first step becomes 1e-3 to 1e-2 of `reconstruction` after 30 steps, and more of what depends on
which code is nearest. So they hold for code that computes the same in the same order, and for one type of
machine. Where a change takes sums in another order on purpose (fuses convolutions, say), `still` must hold:
it is the same without learning, so that nothing can grow; and so must the first step of each curve.

Each file names the type of machine that it was made on. Where numbers differ on another type, the test skips.

All frames come from a few short games of Breakout that the package records, the same bytes each time, and
from the starts that lie beside the shipped world.
"""

import contextlib
import dataclasses
import hashlib
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

FOLDER = Path(__file__).parent
# Relative, then absolute (of what is rounded or close to zero).
TOLERANCES = {
    "losses": (1e-4, 1e-7),
    "still": (5e-3, 1e-6),  # of hundreds of codes one may flip
    "codes": (0.0, 0.0),
    "world": (1e-4, 1e-6),
    "metrics": (1e-4, 2e-6),
    "world_training": (1e-4, 1e-7),
}
# What of the type of machine decides whether numbers may differ; all of it does for the others.
DEPENDS_ON = {
    "still": (),
    "codes": ("instructions",),
    "world": ("instructions",),
    "metrics": ("instructions",),
}
PRESET_NAMES = ("tiny", "spec", "sharp", "lapa", "genie", "lapo", "action")
TEMPERATURES = (0.0, 1.0)
STEPS = 30
WORLD_STEPS = 25
# Of the machine and the clock, or meant to change with each release.
PASSING = {"pairs_per_second", "memory_gb", "gpu_memory_gb", "timing", "ghostpad"}


def make_store(folder: Path) -> Path:
    """Record a little Breakout below `folder`, and give the frame store of it: always the same bytes."""
    from ghostpad.frames.ingest import open_data
    from ghostpad.sources.recorder import RecordConfig, record

    record(RecordConfig(out=folder / "recorded", episodes=20, max_frames=80, seed=0, workers=1))
    return open_data(folder / "recorded", 1).path


# -- what is held ---------------------------------------------------------------------------------------


def loss_curves(name: str, store_path: Path, folder: Path) -> dict[str, Any]:
    """Train a preset for a few steps: every term at every step, and the validation after the last."""
    config = _small_training(name, store_path, folder / name, STEPS, warmup_steps=6, reset_every=8)
    return _trained(config)


def still_curves(name: str, store_path: Path, folder: Path) -> dict[str, Any]:
    """The same without learning: only the codebook is started and moved.

    Nothing that was rounded otherwise can grow, so these numbers hold where sums are taken in another order.
    """
    config = _small_training(name, store_path, folder / f"{name}_still", 6, warmup_steps=0, reset_every=3)
    optimizer = dataclasses.replace(config.optimizer, learning_rate=0.0, final_learning_rate=0.0)
    found = _trained(dataclasses.replace(config, optimizer=optimizer))
    # Adam's mean of the gradients says that they are the same, too.
    state = torch.load(config.out / "last.pt", weights_only=True)["optimizer"]["state"]
    means = [each["exp_avg"].double().square().sum() for each in state.values()]
    return {**found, "gradient_norm": float(torch.stack(means).sum().sqrt())}


def _small_training(
    name: str, store_path: Path, out: Path, steps: int, warmup_steps: int, reset_every: int
) -> Any:
    """A preset with small batches, whose codebook starts and is reset within few steps."""
    from ghostpad.presets import PRESETS

    config = PRESETS[name]()
    quantizer = dataclasses.replace(
        config.model.quantizer, warmup_steps=warmup_steps, reset_every=reset_every
    )
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, quantizer=quantizer),
        data=store_path,
        out=out,
        batch_size=4 if name in ("tiny", "sharp") else 2,
        validation_pairs=8,
        **_short_run(steps),
    )


def _trained(config: Any) -> dict[str, Any]:
    from ghostpad.training.latent_action import train

    validation = train(config)
    return {**_curves(config.out, config.steps), "validation": validation}


def shipped_codes(store_path: Path) -> dict[str, Any]:
    """The codes that both shipped models give to 64 held-out transitions."""
    from ghostpad.frames.pairs import Transitions
    from ghostpad.frames.store import FrameStore
    from ghostpad.model.latent_action_model import LatentActionModel
    from ghostpad.world.world_model import WorldModel

    transitions = Transitions(FrameStore.open(store_path), "test")
    rows = np.linspace(0, len(transitions) - 1, 64).astype(np.int64)
    models = {
        "breakout-sharp": LatentActionModel.from_pretrained("breakout-sharp"),
        "breakout-world": WorldModel.from_pretrained("breakout-world").latent_action_model,
    }
    found: dict[str, Any] = {"rows": rows.tolist()}
    for name, model in models.items():
        pairs = transitions.read(rows, model.grayscale)
        codes = model.encode(*pairs).numpy()
        drawn = model.decode(pairs[0], codes).numpy()
        found[name] = {
            "frames": sha256(np.stack(pairs)),
            "codes": sha256(codes.astype(np.int64)),
            "drawn": sha256((drawn * 255).round().astype(np.uint8)),
            "first_two_grids": codes[:2].tolist(),
        }
    return found


def world_walk(temperature: float) -> dict[str, Any]:
    """Live in the shipped world, three starts side by side: hashes of pictures and codes at each step."""
    from ghostpad.world.starts import read_starts
    from ghostpad.world.world_model import WorldModel

    world = WorldModel.from_pretrained("breakout-world")
    frames, _ = read_starts(world.folder)
    state = world.start(frames[[0, 5, 16]])
    generator = torch.Generator().manual_seed(0)
    in_use = world.buttons_in_use
    buttons, pictures, codes = [], [sha256(state.pictures)], []
    for step in range(WORLD_STEPS):
        # Each is held for three steps; the worlds do not hold the same.
        held = [in_use[(step // 3 + number) % len(in_use)] for number in range(3)]
        state, codes_Nhw = world.step(state, np.array(held), temperature, generator)
        buttons.append(held)
        pictures.append(sha256(state.pictures))
        codes.append(sha256(codes_Nhw.numpy().astype(np.int64)))
    return {"buttons": buttons, "pictures": pictures, "codes": codes}


def world_nll(store_path: Path) -> list[list[float]]:
    """How unlikely the shipped world finds four recorded transitions, under each button."""
    from ghostpad.frames.pairs import Transitions
    from ghostpad.frames.store import FrameStore
    from ghostpad.world.world_model import WorldModel

    world = WorldModel.from_pretrained("breakout-world")
    transitions = Transitions(FrameStore.open(store_path), "test")
    ends = np.array([12, 30, 47, 63])  # of one episode, with all of their history
    rows = ends[:, None] + np.arange(1 - world.history, 1)
    frames, next_frames = transitions.read(rows.ravel(), world.grayscale)
    histories = frames.reshape(*rows.shape, *frames.shape[1:])
    nll = world.nll(histories, next_frames[world.history - 1 :: world.history])
    return [[round(value, 5) for value in row] for row in nll.tolist()]


def metrics(store_path: Path, folder: Path) -> dict[str, Any]:
    """Evaluate a shipped model: the content of its `metrics.json`."""
    from ghostpad.evaluation.config import Amounts, EvaluateConfig
    from ghostpad.evaluation.report.evaluate import evaluate

    amounts = Amounts(
        ssim=16,
        counterfactual=32,
        other_splits=16,
        probe=256,
        ceiling_seeds=1,
        examples=4,
        galleries=4,
        tsne=0,
    )
    config = EvaluateConfig(
        model=Path("breakout-sharp"),
        data=store_path,
        out=folder / "report",
        amounts=amounts,
        device="cpu",
        workers=1,
    )
    return {key: None if key in PASSING else value for key, value in evaluate(config).items()}


def world_training(store_path: Path, folder: Path) -> dict[str, Any]:
    """Train a very small world for a few steps: every term at every step, and the buttons it found."""
    from ghostpad.world.config import DynamicsConfig, WorldConfig
    from ghostpad.world.train import train_world
    from ghostpad.world.world_model import WorldModel

    config = WorldConfig(
        model="breakout-sharp",
        data=store_path,
        out=folder / "world",
        batch_size=4,
        validation_pairs=4,
        object_steps=200,
        reconstruction_weight=100.0,
        starts=0,
        workers=1,
        dynamics=DynamicsConfig(history=4, num_buttons=4, widths=(4, 8, 8), blocks=1, button_blocks=1),
        **_short_run(12),
    )
    validation = train_world(config)
    world = WorldModel.from_pretrained(config.out / "last.pt")
    in_use = list(world.buttons_in_use)
    return {**_curves(config.out, 12), "validation": validation, "buttons_in_use": in_use}


def _short_run(steps: int) -> dict[str, Any]:
    """Fields of a run that is quick, says all, and is the same each time."""
    return {
        "steps": steps,
        "precision": "fp32",
        "compile": "no",
        "device": "cpu",
        "tracker": "none",
        "seed": 0,
        "log_every": 1,
        "validate_every": 0,
        "validation_micro_batch": 0,
        "save_every": 0,
        "save_seconds": 3600.0,
        "histogram_every": 0,
        "examples_every": 0,
    }


def _curves(folder: Path, steps: int) -> dict[str, list[float | None]]:
    """What a run has logged: a number for each step, None where it had none."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curves: dict[str, list[float | None]] = {}
    for line in lines:
        for key, value in line.items():
            if key != "step" and key not in PASSING and not key.startswith("validation"):
                curves.setdefault(key, [None] * steps)[line["step"] - 1] = value
    return curves


# -- files ----------------------------------------------------------------------------------------------


def make(name: str, store_path: Path, folder: Path) -> dict[str, Any]:
    """The content of a golden file, without the machine type."""
    if name == "losses":
        return {preset: loss_curves(preset, store_path, folder) for preset in PRESET_NAMES}
    if name == "still":
        return {preset: still_curves(preset, store_path, folder) for preset in PRESET_NAMES}
    if name == "codes":
        return shipped_codes(store_path)
    if name == "world":
        walks = {f"temperature_{temperature:g}": world_walk(temperature) for temperature in TEMPERATURES}
        return {**walks, "nll": world_nll(store_path)}
    return {"metrics": metrics, "world_training": world_training}[name](store_path, folder)


def golden_path(name: str) -> Path:
    """Where a golden file lies."""
    return FOLDER / f"{name}.json"


def read_golden(name: str) -> dict[str, Any]:
    """The content of a golden file, with the `machine_type` that it was made on."""
    return json.loads(golden_path(name).read_text(encoding="utf-8"))


def machine_type() -> dict[str, str]:
    """What decides how sums are rounded: vector instructions, who made the processor, and torch."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    makers = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": makers[0] if makers else platform.machine(),
        "torch": torch.__version__,
    }


def other_machine(name: str, made_on: dict[str, str]) -> str | None:
    """Why numbers of this golden file may differ here, None where they may not."""
    here = machine_type()
    unlike = [key for key in DEPENDS_ON.get(name, tuple(made_on)) if made_on[key] != here[key]]
    return ", ".join(f"{key} {made_on[key]} there, {here[key]} here" for key in unlike) or None


def sha256(array: np.ndarray) -> str:
    """Of the bytes of an array."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def differences(found: Any, golden: Any, relative: float, absolute: float, place: str = "") -> Iterator[str]:
    """What differs, in the order of the file: where, what was found, and what the golden file says."""
    if isinstance(found, dict) and isinstance(golden, dict):
        for key in [*golden, *(key for key in found if key not in golden)]:
            where = f"{place}.{key}" if place else str(key)
            if key not in found or key not in golden:
                yield f"{where}: only {'here' if key in found else 'in the golden file'}"
            else:
                yield from differences(found[key], golden[key], relative, absolute, where)
    elif isinstance(found, list) and isinstance(golden, list):
        if len(found) != len(golden):
            yield f"{place}: {len(found)} entries, golden {len(golden)}"
        for index, (one, other) in enumerate(zip(found, golden, strict=False)):
            yield from differences(one, other, relative, absolute, f"{place}[{index}]")
    elif type(found) is float or type(golden) is float:
        are_numbers = all(type(value) in (int, float) for value in (found, golden))
        if not are_numbers or abs(found - golden) > absolute + relative * abs(golden):
            yield f"{place}: {found}, golden {golden}"
    elif found != golden or type(found) is not type(golden):
        yield f"{place}: {found}, golden {golden}"


def first_of_each(unlike: list[str], most: int = 20) -> list[str]:
    """Of each list only the first entry that differs, which is the first step of a curve or a walk."""
    firsts: dict[str, str] = {}
    for line in unlike:
        firsts.setdefault(line.partition(":")[0].partition("[")[0], line)
    return list(firsts.values())[:most]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Sums are taken in one order whatever the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _text(value: Any, indent: str = "") -> str:
    """JSON that people can read: a line for each list of plain numbers, and for each entry of others."""
    if isinstance(value, dict) and value:
        deeper = indent + "  "
        lines = [f"{deeper}{json.dumps(key)}: {_text(each, deeper)}" for key, each in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(each, list | dict | str) for each in value):
        deeper = indent + "  "
        return "[\n" + ",\n".join(deeper + _text(each, deeper) for each in value) + f"\n{indent}]"
    if isinstance(value, list):
        return "[" + ", ".join(_text(each) for each in value) + "]"
    return f"{value:.7g}" if type(value) is float and value % 1 else json.dumps(value)


def main(names: list[str]) -> None:
    """Write the golden files of these names, or all."""
    unknown = set(names) - set(TOLERANCES)
    if unknown:
        raise SystemExit(
            f"no such golden file: {', '.join(sorted(unknown))}; there are {', '.join(TOLERANCES)}"
        )
    with tempfile.TemporaryDirectory() as temporary, one_thread():
        folder = Path(temporary)
        store_path = make_store(folder)
        for name in names or list(TOLERANCES):
            content = {"machine_type": machine_type(), **make(name, store_path, folder)}
            golden_path(name).write_text(_text(content) + "\n", encoding="utf-8")
            print(f"wrote {golden_path(name)}")


if __name__ == "__main__":
    main(sys.argv[1:])
