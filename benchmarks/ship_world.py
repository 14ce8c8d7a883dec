"""Put a trained world into the package, with all that play needs, measured as it will be read.

    python benchmarks/ship_world.py CHECKPOINT NAME --data DATA --command "HOW IT WAS TRAINED"

Writes `src/ghostpad/weights/NAME/`: safetensors, config, recorded starts, the map of controls, metrics.json
of held-out episodes and a model card. DATA are recordings of the game.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads

import torch
from shipping import shipped_folder, shipping_options, size_or_exit
from world import table

from ghostpad import __version__
from ghostpad.config import to_plain
from ghostpad.evaluation.config import ControlsConfig
from ghostpad.evaluation.controls.mapping import map_controls
from ghostpad.evaluation.rollouts.build import METRICS_FILE, describe
from ghostpad.frames.ingest import open_data
from ghostpad.io import whole_file, write_json
from ghostpad.machine import num_cores
from ghostpad.model.export import write_safetensors
from ghostpad.world.starts import write_starts
from ghostpad.world.world_model import KIND, WorldModel

CARD = """# {name}

An object-centric world model of Atari Breakout by Ghostpad, learned from watching. From the last {history}
frames and one of {num_buttons} buttons, small networks move the tracked objects, which code composites as
sprites into the next frame, and the dynamics network predicts {grid[0]} by {grid[1]} codes of the transition.
The decoder draws the cells whose codes differ from those expected at constant velocity; all other pixels come
from the frames given. Frames are {height} high and {width} wide.
{weights:,} weights ({size:.1f} MB), the latent action model among them.

```sh
ghostpad play --world {name}
```

```python
from ghostpad import WorldModel

world = WorldModel.from_pretrained("{name}")
```

Without `--labels` buttons are found; with it they were learned from that many labelled transitions, and all
other recordings were watched without labels. `controls.json` ties buttons to the real controls by
{num_labels:,} labelled transitions. Trained on episodes recorded by `ghostpad record` (seed 0):

```
{command}
```

{num_starts} held-out starts, beside the emulator under the same controls (`metrics.json` beside this page has
everything):

{table}

Model hash `{model_hash}`, data fingerprint `{data_fingerprint}`.
"""


def save(world: WorldModel, folder: Path) -> None:
    """Write `model.safetensors` and `config.json` into `folder`, for `WorldModel.from_pretrained`.

    In full precision: rounded weights would choose other codes wherever two are nearly as near.
    """
    with whole_file(folder / "model.safetensors") as temporary:
        write_safetensors(temporary, world.state_dict())
    plain = {"kind": KIND, "version": __version__, "model_config": to_plain(world.config)}
    write_json(folder / "config.json", {**plain, "model_hash": world.model_hash})


def main() -> None:
    """Export, tie, measure, describe."""
    parser = shipping_options(__doc__)
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument(
        "--average",
        nargs="+",
        type=Path,
        default=[],
        metavar="CHECKPOINT",
        help="further checkpoints of the same training, whose dynamics are averaged with it",
    )
    parser.add_argument(
        "--press",
        nargs=2,
        action="append",
        default=[],
        metavar=("CONTROL", "BUTTON"),
        help="button of a control that hardly ever does anything, so that counting cannot tell",
    )
    options = parser.parse_args()
    out = shipped_folder(options.name)
    store = open_data(options.data)
    shutil.rmtree(out, ignore_errors=True)
    save(averaged([options.checkpoint, *options.average]), out)
    world = WorldModel.from_pretrained(out)
    write_starts(out, store, world.history)
    found = map_controls(ControlsConfig(world=str(out), data=store.path))
    pressed = list(found.button_for_control)
    for control, button in options.press:
        pressed[found.control_names.index(control)] = int(button)
    found = dataclasses.replace(found, button_for_control=tuple(pressed))
    found.write(out)
    (out / "controls.png").unlink(missing_ok=True)
    size = size_or_exit(out)
    metrics = describe(world, store, found, options.starts, num_workers=num_cores())
    write_json(out / METRICS_FILE, metrics)
    card = CARD.format(
        name=options.name,
        history=world.history,
        num_buttons=world.num_buttons,
        grid=world.grid,
        height=world.height,
        width=world.width,
        weights=sum(part.numel() for part in world.parameters()),
        size=size,
        num_labels=found.num_labels,
        num_starts=options.starts,
        command=options.command,
        table=table(metrics["world"]),
        model_hash=metrics["model_hash"],
        data_fingerprint=metrics["data_fingerprint"],
    )
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    print(card)
    print(json.dumps(metrics["buttons"], indent=1))


@torch.no_grad()
def averaged(checkpoints: list[Path]) -> WorldModel:
    """The first of these worlds with the mean of all dynamics.

    Weights that one training passed through are better in the mean than each alone (Izmailov et al. 2018,
    https://arxiv.org/abs/1803.05407).
    """
    worlds = [WorldModel.from_pretrained(path) for path in checkpoints]
    others = [dict(world.dynamics.named_parameters()) for world in worlds]
    for name, part in worlds[0].dynamics.named_parameters():
        part.copy_(torch.stack([each[name] for each in others]).mean(0))
    return worlds[0]


if __name__ == "__main__":
    main()
