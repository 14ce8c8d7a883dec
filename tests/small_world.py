"""A small world model of real frames, untrained, but with codes and buttons that differ."""

from pathlib import Path

import torch

from ghostpad.config import to_plain
from ghostpad.frames.store import FrameStore
from ghostpad.training.checkpoint import write_checkpoint
from ghostpad.world.config import DynamicsConfig, WorldConfig
from ghostpad.world.starts import write_starts
from ghostpad.world.world_model import WorldModel, WorldModelConfig
from small_model import saved, small_model


def small_world(
    store: FrameStore,
    seed: int = 0,
    grayscale: bool = False,
    tokens: tuple[int, int] | None = None,
    objects: bool = True,
    **dynamics,
) -> WorldModel:
    """A world in evaluation mode around `small_model`, whose statistics come from frames of `store`."""
    model = small_model(store, seed, grayscale=grayscale, tokens=tokens)
    torch.manual_seed(seed)
    sizes = {"history": 2, "num_buttons": 3, "widths": (4, 6, 8), "blocks": 1, "button_blocks": 1}
    config = WorldModelConfig(model.config, DynamicsConfig(**{**sizes, **dynamics}), objects)
    world = WorldModel(config)
    world.latent_action_model = model
    # With the bias towards the expected codes, an untrained world would ignore its buttons.
    torch.nn.init.zeros_(world.dynamics.residual_bias.bias)  # pyright: ignore[reportArgumentType]
    return world.eval()


def saved_world(world: WorldModel, store: FrameStore, folder: Path) -> Path:
    """Write a world's folder, as `ghostpad world` leaves it, with five starts."""
    folder.mkdir()
    write_checkpoint(
        folder / "best.pt",
        {"kind": "world", "model_config": to_plain(world.config), "model": world.state_dict()},
    )
    write_starts(folder, store, world.history, num_starts=5)
    return folder


def small_world_config(store: FrameStore, folder: Path) -> WorldConfig:
    """Eight steps of a very small world on real Breakout; the last five in rollouts."""
    saved(small_model(store, grayscale=False), folder / "model.pt")
    return WorldConfig(
        model=str(folder / "model.pt"),
        data=store.path,
        out=folder / "world",
        steps=8,
        batch_size=4,
        save_every=100,
        validate_every=4,
        validation_pairs=4,
        log_every=1,
        examples_every=4,
        precision="fp32",
        tracker="none",
        device="cpu",
        buttons_until=0.3,
        object_steps=2,
        divergence_db=10.0,
        reconstruction_weight=100.0,
        dynamics=DynamicsConfig(history=2, num_buttons=3, widths=(4, 8, 8), blocks=1, button_blocks=1),
    )
