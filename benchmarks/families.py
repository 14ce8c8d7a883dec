"""The families of latent action models side by side: same episodes, same compute, all metrics.

    python benchmarks/families.py [FOLDER] [--teraflop T] [--seeds 0 1] [--presets spec sharp …] [--write]

Records the episodes, trains every preset with the same number of floating-point operations (those of a step
are counted first, forward and backward, and as many steps taken as fit; each runs its whole schedule),
evaluates each on the same held-out episodes and prints the page `docs/families.md`; `--write` writes it with
its picture, and keeps the hand-written part below. Operations are the same on every machine, whatever else
runs on it. Every part is kept in FOLDER (default: families_benchmark) and reused by the next run, which may
be after an interruption.
"""

import argparse
import dataclasses
import json
import os
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch loads

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from ghostpad.evaluation.config import Amounts, EvaluateConfig
from ghostpad.evaluation.report.evaluate import METRICS, evaluate
from ghostpad.evaluation.schema import get
from ghostpad.evaluation.validation import validation_metrics
from ghostpad.frames.ingest import open_data
from ghostpad.io import whole_file
from ghostpad.machine import resolve_device
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.presets import PRESETS
from ghostpad.sources.recorder import RecordConfig, record
from ghostpad.theme import NEUTRAL, PLOT_STYLE
from ghostpad.training.config import TrainConfig
from ghostpad.training.distributed import ProcessGroup
from ghostpad.training.latent_action import make_loop, train

FAMILIES = ("spec", "sharp", "lapa", "genie", "lapo")
PAGE = Path(__file__).parent.parent / "docs" / "families.md"
PICTURE = PAGE.parent / "images" / "families.png"
READING = "\n## What the table shows"
"""From here on the page is written by hand, and kept."""
WATCHED = "validation_gain_over_copy_db"
TRANSITIONS = 1000
NUM_LOOKS = 6
"""Validations on the way."""
# title, key of metrics.json, digits, whether it is a share
ROWS = (
    ("codes", "codebook.size", 0, False),
    ("bits per transition", "codebook.bits_per_transition", 1, False),
    ("PSNR (dB)", "reconstruction.psnr_db", 2, False),
    ("PSNR of copying (dB)", "reconstruction.copy_psnr_db", 2, False),
    ("gain over copying (dB)", "reconstruction.gain_over_copy_db", 2, False),
    ("PSNR on moving pixels (dB)", "reconstruction.moving_psnr_db", 2, False),
    ("SSIM", "reconstruction.ssim", 4, False),
    ("ΔPSNR (dB)", "reconstruction.delta_psnr_db", 2, False),
    ("leak of static content", "reconstruction.leak_share", 1, True),
    ("ball detected", "elements.ball.detected", 1, True),
    ("ball within 2 pixels", "elements.ball.within_2px", 1, True),
    ("more balls than true", "elements.ball.false_share", 1, True),
    ("paddle within 2 pixels", "elements.paddle.within_2px", 1, True),
    ("recall of vanishing bricks", "elements.bricks.vanish_recall", 1, True),
    ("brick states correct", "elements.bricks.state_accuracy", 3, True),
    ("codes used", "codebook.usage", 1, True),
    ("codes actively used", "codebook.active", 1, True),
    ("perplexity", "codebook.perplexity", 1, False),
    (
        "mutual information with the paddle's direction (bits)",
        "events.mutual_information_bits.paddle",
        3,
        False,
    ),
    ("mutual information with bounces (bits)", "events.mutual_information_bits.bounce", 3, False),
    ("controls named correctly", "agreement.accuracy", 1, True),
    ("share of the ceiling", "agreement.share_of_ceiling", 1, True),
    ("controls named correctly, 64 labels", "agreement.label_budget.64.mean", 1, True),
    ("paddle moves the same way in other frames", "transfer.paddle_direction", 1, True),
)


HEAD = """\
# Families of latent action models, side by side

Written by `python benchmarks/families.py --teraflop {teraflop} --seeds {seeds}{more} --write`.

Every model was trained on the same {episodes} recorded episodes of Breakout ({frames:,} frames, frame skip
4, {color}) with the same compute: {teraflop} · 10¹² floating-point operations in convolutions and matrix
products, forward and backward. Each took as many steps as that allows and ran its whole learning-rate
schedule, so presets made for 100,000 steps are cut short. All numbers are from {transitions:,} transitions
of {held_out} held-out episodes, {spread}.

The families differ in their bottleneck. `spec` has a grid of codes. `lapa` (NSVQ), `genie` (VQ) and `lapo`
(VQ-EMA, product codes) have the few tokens that were published, inside the encoder and decoder of `spec`.
`sharp` also has another decoder and loss. More bits per transition make a good picture easier, so compare
PSNR at similar bits. [metrics.md](metrics.md) explains each number.
"""
CURVES = """
![Gain over copying against transitions seen, and against compute](images/families.png)

Gain over copying during training, from {looks} validations on 64 held-out transitions: against transitions
seen (left) and against compute (right).
"""


def main() -> None:
    options = _options()
    videos = options.folder / "bulk_videos"
    record(RecordConfig(videos, episodes=options.episodes, max_frames=options.max_frames, seed=0))
    store = open_data(videos)
    runs: dict[str, list[dict[str, Any]]] = {}
    for seed in options.seeds:
        for name in options.presets:
            runs.setdefault(name, []).append(_run(name, seed, videos, options))
            print(f"{name}, seed {seed}: {json.dumps(runs[name][-1]['run'])}", flush=True)
    page = _page(runs, options, sum(episode.num_frames for episode in store.episodes))
    print(page)
    if options.write:
        _draw(runs, options.teraflop)
        _, begins, reading = PAGE.read_text("utf-8").partition(READING) if PAGE.exists() else ("",) * 3
        PAGE.write_text(page + begins + reading, encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("families_benchmark"))
    parser.add_argument(
        "--teraflop", type=float, default=1000.0, help="10^12 floating-point operations to train each model"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--presets", nargs="+", default=list(FAMILIES), choices=list(PRESETS))
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--max-frames", type=int, default=1000)
    parser.add_argument("--transitions", type=int, default=TRANSITIONS, help="held-out ones to evaluate on")
    parser.add_argument("--rgb", action="store_true", help="three channels instead of one, for every model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    return parser.parse_args()


def _run(name: str, seed: int, videos: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train and evaluate one model, or read the results of an earlier call."""
    folder = options.folder / f"{name}_{seed}"
    summary = folder / "run.json"
    if not summary.exists():
        config = _config(name, seed, videos, folder, options)
        train(config, validation_metrics)
        model = LatentActionModel.from_pretrained(folder / "model")
        facts = {
            "steps": config.steps,
            "transitions_seen": config.steps * config.batch_size,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "grid": list(model.grid),
        }
        summary.write_text(json.dumps(facts), encoding="utf-8")
    report = folder / "report"
    if not (report / METRICS).exists():
        amounts = Amounts(
            options.transitions,
            ssim=256,
            counterfactual=512,
            other_splits=256,
            galleries=24,
            examples=18,
            tsne=0,
        )
        evaluate(
            EvaluateConfig(
                folder / "model", videos, out=report, amounts=amounts, device=options.device, seed=0
            )
        )
    lines = map(json.loads, (folder / "model" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    curve = [(line["step"], line[WATCHED]) for line in lines if WATCHED in line]
    metrics = json.loads((report / METRICS).read_text(encoding="utf-8"))
    return {"run": json.loads(summary.read_text(encoding="utf-8")), "metrics": metrics, "curve": curve}


def _config(name: str, seed: int, videos: Path, folder: Path, options: argparse.Namespace) -> TrainConfig:
    """The preset with as many steps as fit into the compute; all presets see the same data and colours."""
    base = dataclasses.replace(
        PRESETS[name](),
        data=videos,
        out=folder / "model",
        seed=seed,
        grayscale=not options.rgb,
        device=options.device,
        tracker="none",
        validation_pairs=64,
        validation_micro_batch=0,
        resume=True,
    )
    plan = folder / "steps.json"
    if not plan.exists():
        folder.mkdir(parents=True, exist_ok=True)
        plan.write_text(json.dumps(max(NUM_LOOKS, int(1e12 * options.teraflop / _step_flop(base)))))
    steps = json.loads(plan.read_text())
    return dataclasses.replace(base, steps=steps, validate_every=-(-steps // NUM_LOOKS), save_every=steps)


def _step_flop(config: TrainConfig) -> int:
    """Floating-point operations of a training step."""
    loop = make_loop(config, open_data(config.data), ProcessGroup(resolve_device(config.device)))
    loop.model.train()
    with FlopCounterMode(display=False) as counter:
        loop.train_step()
    return counter.get_total_flops()


def _page(runs: dict[str, list[dict[str, Any]]], options: argparse.Namespace, num_frames: int) -> str:
    names = list(runs)
    first = runs[names[0]][0]["metrics"]
    many = len(options.seeds) > 1
    more = f" --presets {' '.join(names)}" if tuple(names) != FAMILIES else ""
    more += f" --transitions {options.transitions}" if options.transitions != TRANSITIONS else ""
    more += " --rgb" if options.rgb else ""
    text = HEAD.format(
        teraflop=f"{options.teraflop:g}",
        seeds=" ".join(map(str, options.seeds)),
        more=more,
        episodes=options.episodes,
        frames=num_frames,
        color=first["color"],
        transitions=first["num_transitions"],
        held_out=first["num_episodes"],
        spread="means over these seeds, with the range in brackets"
        if many
        else "from one seed, so small differences mean nothing",
    )
    lines = [text, f"| | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    facts = ("steps", "transitions_seen", "parameters", "grid")
    for fact in facts:
        cells = [_fact(runs[name][0]["run"][fact]) for name in names]
        lines.append(f"| {fact.replace('_', ' ')} | {' | '.join(cells)} |")
    for title, key, digits, share in ROWS:
        cells = [_cell([get(run["metrics"], key) for run in runs[name]], digits, share) for name in names]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + CURVES.format(looks=NUM_LOOKS)


def _draw(runs: dict[str, list[dict[str, Any]]], teraflop: float) -> None:
    """Gain over copying on the way, of the first seed."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    with matplotlib.rc_context(PLOT_STYLE):
        left, right = figure.subplots(1, 2, sharey=True)
    for name, found in runs.items():
        steps, gains = np.array(found[0]["curve"]).T
        shares = steps / found[0]["run"]["steps"]
        left.plot(shares * found[0]["run"]["transitions_seen"], gains, marker="o", label=name)
        right.plot(shares * teraflop, gains, marker="o", label=name)
    left.set(xlabel="transitions seen", ylabel="gain over copying (dB)", xscale="log")
    right.set(xlabel="10¹² floating-point operations")
    right.legend()
    for axes in (left, right):
        axes.axhline(0, color=NEUTRAL, linewidth=1)
    with whole_file(PICTURE) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _fact(value: Any) -> str:
    return " by ".join(map(str, value)) if isinstance(value, list) else f"{value:,}"


def _cell(values: list[float | None], digits: int, share: bool) -> str:
    known = [100 * value if share else value for value in values if value is not None]
    if not known:
        return "-"
    unit = " %" if share else ""
    text = f"{statistics.mean(known):.{digits}f}{unit}"
    if len(known) > 1:
        text += f" ({min(known):.{digits}f} to {max(known):.{digits}f})"
    return text


if __name__ == "__main__":
    main()
