"""Labels as NumPy archives, one per shard: the columns of the labels, with codes as (T, h, w)."""

from pathlib import Path

import numpy as np

from ghostpad.labels.folder import Labels
from ghostpad.labels.formats import LabelFormat
from ghostpad.progress import progress


def write(labels: Labels, folder: Path, store: Path | None, fps: int | None) -> None:
    """Write `labels-NNNNNN.npz`; an unknown control is −1."""
    for shard in progress(labels.shards, what="export", unit="files"):
        table = labels.table(shard)
        indices = ("episode_index", "frame_index", "next_frame_index")
        columns = {name: table[name].to_numpy() for name in indices}
        if "control" in table.column_names:
            columns["control"] = labels.controls(shard)
        path = folder / f"{Path(shard.file_name).stem}.npz"
        np.savez_compressed(path, codes=labels.codes(shard), **columns)


FORMAT = LabelFormat(
    write,
    loading="""\
```python
import numpy as np

shard = np.load("{folder}/labels-000000.npz")
print(shard["codes"].shape, shard["episode_index"][:3], shard["frame_index"][:3])
```""",
)
