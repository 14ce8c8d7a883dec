"""The table of verbs: what each does, where its code is, and how it is called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """One line of the table: what a verb does and where its code is."""

    summary: str
    """What the verb does, in one line."""
    module: str
    """Module that is imported when the verb is used."""
    config: str
    """Class of that module which holds the options."""
    function: str
    """Function of that module which takes the config."""
    example: str
    """Options of a typical call."""
    positional: bool = False
    """Whether options without a default are given by place rather than by name."""
    again: str = "the same command goes on from there"
    """How to go on after an interruption."""
    leaves: str = ""
    """What to say at the end of a verb that says nothing itself; options in braces."""


# In the order of the pipeline.
VERBS = {
    "record": Verb(
        "play an Atari game and write its frames as folders of PNGs",
        "ghostpad.sources.atari",
        "RecordConfig",
        "record",
        "--game breakout --episodes 40",
        leaves="{out}: {episodes} episodes of {game}",
    ),
    "ingest": Verb(
        "turn recordings into a frame store: lossless, and quick to read",
        "ghostpad.frames.ingest",
        "IngestConfig",
        "ingest",
        "bulk_videos --out bulk_videos.store",
        positional=True,
    ),
    "info": Verb(
        "say what is in a frame store, and draw a contact sheet",
        "ghostpad.frames.info",
        "InfoConfig",
        "info",
        "bulk_videos.store",
        positional=True,
    ),
    "train": Verb(
        "learn a latent action for every transition, from frames alone",
        "ghostpad.training.latent_action",
        "TrainConfig",
        "train",
        "--data bulk_videos --preset tiny",
        again="add --resume to go on from there",
        leaves="{out}/best.pt: the model that validated best",
    ),
    "bench": Verb(
        "find the fastest settings for training here, and what limits them",
        "ghostpad.bench",
        "BenchConfig",
        "bench",
        "--preset spec --data bulk_videos",
    ),
    "extract": Verb(
        "label every transition of a recording with its latent action",
        "ghostpad.labels.extract",
        "ExtractConfig",
        "extract",
        "--model checkpoints/latent_action --data bulk_videos",
    ),
    "evaluate": Verb(
        "measure a model on held-out episodes, and write a report",
        "ghostpad.evaluation.report.evaluate",
        "EvaluateConfig",
        "evaluate",
        "--model checkpoints/latent_action --data bulk_videos",
    ),
    "world": Verb(
        "learn a world that the codes drive, and the buttons behind them",
        "ghostpad.evaluation.rollouts.build",
        "WorldConfig",
        "build_world",
        "--model checkpoints/latent_action --data bulk_videos",
        again="add --resume to go on from there",
    ),
    "controls": Verb(
        "tie a world's buttons to the game's controls, from a few labels",
        "ghostpad.evaluation.controls.controls",
        "ControlsConfig",
        "controls",
        "--world checkpoints/world --data bulk_videos --labels 64",
    ),
    "play": Verb(
        "play a world in the browser, the real game beside it",
        "ghostpad.play.server",
        "PlayConfig",
        "play",
        "--world checkpoints/world --data bulk_videos",
        again="the same command plays again",
    ),
    "export": Verb(
        "write a model or its labels in formats that others read",
        "ghostpad.labels.export",
        "ExportConfig",
        "export",
        "--labels data/latent_actions --format lerobot --out lerobot",
    ),
    "demo": Verb(
        "the whole pipeline, small, on this machine, in minutes",
        "ghostpad.demo",
        "DemoConfig",
        "demo",
        "--out demo",
    ),
}
