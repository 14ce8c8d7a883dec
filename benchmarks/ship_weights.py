"""Put a trained model into the package, measured as it will be read.

    python benchmarks/ship_weights.py CHECKPOINT NAME --data DATA --command "HOW IT WAS TRAINED"

DATA are the 40 episodes of `ghostpad record` with its defaults.

Writes `src/ghostpad/weights/NAME/`: half-precision safetensors, config, metrics.json of the held-out
episodes and a model card.
"""

import json
import os
import tempfile
from pathlib import Path

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads

from readme_table import table
from shipping import shipped_folder, shipping_options, size_or_exit

from ghostpad.evaluation.config import EvaluateConfig
from ghostpad.evaluation.report.evaluate import evaluate
from ghostpad.model.export import export_model
from ghostpad.model.latent_action_model import LatentActionModel

CARD = """# {name}

A latent action model of Atari Breakout by Ghostpad: {grid[0]} by {grid[1]} codes of {codebook_size} for
every transition, frames {height} high and {width} wide in {color}, {weights:,} weights in half precision
({size:.1f} MB).

```python
from ghostpad import LatentActionModel

model = LatentActionModel.from_pretrained("{name}")
```

Trained on episodes recorded by `ghostpad record` with its defaults (seed 0):

```
{command}
```

Measured on the {num_episodes} test episodes of the first 40 of them, from which nothing was learned
(`metrics.json` beside this page has everything):

{table}

Model hash `{model_hash}`, data fingerprint `{data_fingerprint}`.

It knows the colours of Breakout as this emulator draws them, and nothing else: a frame with another one
is refused. Frames were four emulator steps apart; at another frame skip its codes mean less.
"""


def main() -> None:
    """Export, measure, describe."""
    options = shipping_options(__doc__).parse_args()
    out = shipped_folder(options.name)
    model = LatentActionModel.from_pretrained(options.checkpoint)
    export_model(model, "safetensors", out, half=True)
    size = size_or_exit(out)
    with tempfile.TemporaryDirectory() as folder:
        metrics = evaluate(EvaluateConfig(model=out, data=options.data, out=Path(folder) / "report"))
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    num_weights = sum(part.numel() for part in model.parameters())
    facts = {**metrics, "grid": model.grid, "codebook_size": model.codebook_size}
    card = CARD.format(
        **{name: facts[name] for name in facts if name not in ("codebook",)},
        name=options.name,
        weights=num_weights,
        size=size,
        command=options.command,
        table=table(metrics),
    )
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
