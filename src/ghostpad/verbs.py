"""The table of verbs: what each does and where its code is, imported only when it runs."""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verb:
    """One verb of the command line."""

    summary: str
    """What it does, in one line."""
    config: str
    """`module:class` of its options."""
    function: str
    """`module:function` that takes the options."""
    example: str
    """Options of a typical call."""
    after_interrupt: str = "the same command continues from there"
    """How to continue after an interruption."""
    done: str = ""
    """What to print at the end; options in braces."""
    returns_status: bool = False
    """Whether the function returns the exit status."""


def load(reference: str) -> Any:
    """Import what `module:name` refers to."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


# In the order of the pipeline.
VERBS = {
    "record": Verb(
        "play an Atari game or other environment and write PNG frames",
        "ghostpad.sources.recorder:RecordConfig",
        "ghostpad.sources.recorder:record",
        "--game breakout --episodes 40",
        done="{out}: {episodes} episodes",
    ),
    "ingest": Verb(
        "turn recordings into a frame store: lossless, and quick to read",
        "ghostpad.frames.ingest:IngestConfig",
        "ghostpad.evaluation.ingest:ingest",
        "bulk_videos --out bulk_videos.store",
    ),
    "info": Verb(
        "describe a frame store, and draw a contact sheet",
        "ghostpad.frames.info:InfoConfig",
        "ghostpad.frames.info:info",
        "bulk_videos.store",
    ),
    "doctor": Verb(
        "judge a recording and a model: what is wrong, and what to change",
        "ghostpad.evaluation.config:DoctorConfig",
        "ghostpad.evaluation.doctor.diagnosis:doctor",
        "--data bulk_videos --model checkpoints/latent_action",
        after_interrupt="the same command starts again",
        returns_status=True,
    ),
    "train": Verb(
        "learn a latent action for every transition, from frames alone",
        "ghostpad.training.config:TrainConfig",
        "ghostpad.presets:train",
        "--data bulk_videos --preset tiny",
        after_interrupt="add --resume to continue from there",
        done="{out}/best.pt: the model with the lowest validation loss",
    ),
    "bench": Verb(
        "find the fastest settings for training here, and what limits them",
        "ghostpad.bench:BenchConfig",
        "ghostpad.bench:bench",
        "--preset spec --data bulk_videos",
    ),
    "extract": Verb(
        "label every transition of a recording with its latent action",
        "ghostpad.labels.extract:ExtractConfig",
        "ghostpad.buttons.labelling:extract",
        "--model checkpoints/latent_action --data bulk_videos",
    ),
    "evaluate": Verb(
        "measure a model on held-out episodes, and write a report",
        "ghostpad.evaluation.config:EvaluateConfig",
        "ghostpad.evaluation.report.evaluate:evaluate",
        "--model checkpoints/latent_action --data bulk_videos",
    ),
    "world": Verb(
        "learn a world that the codes drive, and the buttons behind them",
        "ghostpad.world.config:WorldConfig",
        "ghostpad.evaluation.rollouts.build:build_world",
        "--model checkpoints/latent_action --data bulk_videos",
        after_interrupt="add --resume to continue from there",
    ),
    "controls": Verb(
        "map a world's buttons to the game's controls, from a few labels",
        "ghostpad.evaluation.config:ControlsConfig",
        "ghostpad.evaluation.controls.mapping:map_controls",
        "--world checkpoints/world --data bulk_videos --labels 64",
    ),
    "play": Verb(
        "play a world in the browser, the real game beside it",
        "ghostpad.play.server:PlayConfig",
        "ghostpad.play.server:play",
        "--world checkpoints/world --data bulk_videos",
        after_interrupt="the same command plays again",
    ),
    "export": Verb(
        "write a model, its labels or a page that plays a world, for others",
        "ghostpad.labels.export:ExportConfig",
        "ghostpad.play.page_export:export",
        "--labels data/latent_actions --format lerobot --out lerobot",
    ),
    "push": Verb(
        "upload labels or a model, with a card, to the Hugging Face hub",
        "ghostpad.labels.push:PushConfig",
        "ghostpad.labels.push:push",
        "USER/NAME --labels data/latent_actions --dry-run",
        after_interrupt="the same command starts again",
    ),
    "demo": Verb(
        "run the whole pipeline, small, on this machine, in minutes",
        "ghostpad.demo:DemoConfig",
        "ghostpad.demo:demo",
        "--out demo",
    ),
}
