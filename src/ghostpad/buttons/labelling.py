"""The verb `extract`: codes, and with `--buttons` a button for every transition, in the same files."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ghostpad.buttons.persistence import (
    ButtonClassifier,
    PersistenceConfig,
    fit_button_classifier,
    smoothed,
)
from ghostpad.config import check_minimum
from ghostpad.errors import UserError
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.io import whole_file
from ghostpad.labels.extract import ExtractConfig
from ghostpad.labels.extract import extract as extract_codes
from ghostpad.labels.folder import BUTTON, Labels, write_manifest
from ghostpad.motion import Motion, motion_features

MOST_BUTTONS = np.iinfo(np.int8).max  # that the column can hold


def extract(config: ExtractConfig) -> Labels:
    """Label every transition of `config.data` with codes, and with a button if `config.buttons` is set.

    Raises:
        UserError: see `ghostpad.labels.extract.extract`; or episodes are too short for buttons.
    """
    check_minimum(config, {"num_buttons": 2})
    if config.num_buttons > MOST_BUTTONS:
        raise UserError(f"--num-buttons {config.num_buttons}: must be at most {MOST_BUTTONS}")
    labels = extract_codes(config)
    if config.buttons:
        options = PersistenceConfig(config.num_buttons, config.seed)
        buttons = transition_buttons(labels.open_store(), labels.origin.stride, options).astype(np.int8)
        first = 0
        for shard in labels.shards:
            write_buttons(labels, shard.file_name, buttons[first : first + shard.num_transitions])
            first += shard.num_transitions
        write_manifest(labels.path, labels.manifest)
        used = np.bincount(buttons, minlength=config.num_buttons) / len(buttons)
        shares = ", ".join(f"{button}: {share:.0%}" for button, share in enumerate(used))
        print(f"buttons inferred from motion ({shares})")
    return labels


def transition_buttons(store: FrameStore, stride: int, config: PersistenceConfig) -> np.ndarray:
    """The likeliest button of every transition, (T,) int64; errors as in `fit_button_classifier`."""
    motion, classifier = fit_buttons(store, stride, config)
    posterior_TM = classifier.posterior(motion.features_TF)
    return smoothed(posterior_TM, Transitions(store, None, stride).episode_index).argmax(1)


def fit_buttons(store: FrameStore, stride: int, config: PersistenceConfig) -> tuple[Motion, ButtonClassifier]:
    """Motion of all transitions, and the classifier, which is fitted to the training episodes."""
    episode_index = Transitions(store, None, stride).episode_index
    train = np.array([episode.split == "train" for episode in store.episodes])[episode_index]
    motion = motion_features(store, stride)
    return motion, fit_button_classifier(motion, episode_index, train, config)


def write_buttons(labels: Labels, file_name: str, buttons: np.ndarray) -> None:
    """Write the column `button` (int8) into a file of labels, in place of an earlier one."""
    path, first = labels.path / file_name, 0
    with pq.ParquetFile(path) as source:
        schema = source.schema_arrow
        if BUTTON in schema.names:
            schema = schema.remove(schema.get_field_index(BUTTON))
        schema = schema.append(pa.field(BUTTON, pa.int8()))
        with whole_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for number in range(source.num_row_groups):
                group = source.read_row_group(number)
                part = pa.array(buttons[first : first + len(group)], pa.int8())
                columns = [part if name == BUTTON else group[name] for name in schema.names]
                writer.write_table(pa.table(columns, schema=schema), max(1, len(group)))
                first += len(group)
