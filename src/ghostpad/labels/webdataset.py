"""Labels as WebDataset shards: a tar per file of labels, a sample per transition."""

import io
import json
import tarfile
from fractions import Fraction
from pathlib import Path

from ghostpad.labels.folder import Labels
from ghostpad.labels.formats import LabelFormat
from ghostpad.progress import progress

_IMAGES = {"frame": "frame.png", "next_frame": "next_frame.png"}


def write_webdataset(labels: Labels, folder: Path, store: Path | None, fps: Fraction | None) -> None:
    """Write `labels-NNNNNN.tar`: `<episode>/<frame>.json`, and `.frame.png` beside it if labels have frames.

    The JSON holds the columns of the labels, the name of the episode and its split.
    """
    episodes = labels.manifest["episodes"]
    for shard in progress(labels.shards, what="export", unit="files"):
        with tarfile.open(
            folder / f"{Path(shard.file_name).stem}.tar", "w", format=tarfile.PAX_FORMAT
        ) as tar:
            for batch in labels.table(shard).to_batches(max_chunksize=256):
                for row in batch.to_pylist():
                    episode = episodes[row["episode_index"]]
                    images = {name: row.pop(name) for name in _IMAGES if name in row}
                    details = {"episode": episode["name"], "split": episode["split"], **row}
                    key = f"{episode['name']}/{row['frame_index']:06d}"
                    _add(tar, f"{key}.json", json.dumps(details).encode())
                    for name, png in images.items():
                        _add(tar, f"{key}.{_IMAGES[name]}", png)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


WEBDATASET = LabelFormat(
    write_webdataset,
    loading="""\
```python
import webdataset

for sample in webdataset.WebDataset("{folder}/labels-000000.tar").decode():
    print(sample["__key__"], sample["json"]["codes"])
```""",
    tags=("webdataset",),
)
