"""Latent actions of whole data sets: extracted, read back as training data, exported to other formats.

`shards` labels one shard, `engines` all of them; `extract` is the verb. `dataset` reads labels back
(`LatentActionDataset`, which `ghostpad` exports); `formats` and `lerobot` write what `export` offers,
and `cards` describes it.
"""

from ghostpad.labels.folder import Labels
from ghostpad.labels.shards import Origin, Shard

__all__ = ["Labels", "Origin", "Shard"]
