"""Labels as JSON lines with the field names of LAPA.

https://github.com/LatentActionPretraining/LAPA, laq/inference_sthv2.py
"""

import json
from pathlib import Path

from ghostpad.labels.folder import Labels
from ghostpad.labels.formats import LabelFormat
from ghostpad.progress import progress


def write(labels: Labels, folder: Path, store: Path | None, fps: int | None) -> None:
    """Write `labels.jsonl`, a line per transition.

    `delta` holds the codes as strings; `image` and `next_image` name the frames as in a folder of episodes.
    The field `vision`, tokens of LAPA's own image tokenizer, is left to LAPA.
    """
    episodes = labels.manifest["episodes"]
    with (folder / "labels.jsonl").open("w", encoding="utf-8") as file:
        for shard in progress(labels.shards, what="export", unit="files"):
            table = labels.table(shard, ["episode_index", "frame_index", "next_frame_index"]).to_pydict()
            rows = zip(*table.values(), labels.codes(shard), strict=True)
            for episode, frame, next_frame, codes in rows:
                name = episodes[episode]["name"]
                line = {
                    "id": f"{name}_{frame}",
                    "image": f"{name}/{frame}.png",
                    "next_image": f"{name}/{next_frame}.png",
                    "instruction": "",
                    "delta": [str(code) for code in codes.ravel()],
                    "fields": "[instruction],[vision],delta",
                    "split": episodes[episode]["split"],
                }
                file.write(json.dumps(line) + "\n")


FORMAT = LabelFormat(
    write,
    loading="""\
One JSON object per line with the field names of [LAPA](https://github.com/LatentActionPretraining/LAPA):
`delta` holds the codes as strings. `image` and `next_image` name frames as `<episode>/<frame>.png`.""",
)
