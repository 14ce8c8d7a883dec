"""Mutated recordings and manifests: the outcome is a store or a one-line error, never a traceback.

`GHOSTPAD_FUZZ=1000 pytest tests/test_frames_fuzz.py` runs longer, with different mutations each time.
"""

import contextlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghostpad.errors import UserError
from ghostpad.frames.ingest import IngestConfig, ingest, open_data
from ghostpad.frames.store import FrameStore
from recordings import noise, write_lerobot, write_minari, write_pngs, write_video

LONGER = int(os.environ.get("GHOSTPAD_FUZZ", "0"))
fuzz = settings(
    max_examples=LONGER or 15,
    derandomize=not LONGER,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
# where (as a share of the file), what is done there, and with what
mutations = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["flip", "insert", "delete", "cut", "zero"]),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


def mutate(data: bytes, changes: list[tuple[float, str, int]]) -> bytes:
    changed = bytearray(data)
    for place, kind, value in changes:
        at = int(place * len(changed))
        if kind == "flip" and changed:
            changed[at] ^= value or 1
        elif kind == "insert":
            changed[at:at] = bytes([value])
        elif kind == "delete":
            del changed[at : at + 1 + value]
        elif kind == "cut":
            del changed[at:]
        else:
            changed[at : at + value] = bytes(len(changed[at : at + value]))
    return bytes(changed)


@contextlib.contextmanager
def copy_of(recording: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Path(shutil.copytree(recording, Path(folder) / "in"))


def outcome(source: Path) -> FrameStore | None:
    """Ingest both ways; the store of `skip`, if there is one, after reading all of it."""
    store = None
    for on_bad in ("fail", "skip"):
        out = source.parent / on_bad
        try:
            store = ingest(IngestConfig(source, out, on_bad=on_bad))  # type: ignore[arg-type]
        except UserError as mistake:
            assert "\n" not in str(mistake)
            assert not out.exists()
        else:
            for index, episode in enumerate(store.episodes):
                assert len(store.read(index, np.arange(episode.num_frames), grayscale=True)) > 1
        assert {path.name for path in source.parent.iterdir()} <= {"in", "fail", "skip"}
    return store


@pytest.fixture(scope="module")
def pngs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    episodes = {name: noise(4, "palette", seed, (8, 9)) for seed, name in enumerate("abc")}
    root = write_pngs(tmp_path_factory.mktemp("pngs") / "in", episodes)
    (root / "b" / "episode.json").write_text(json.dumps({"controls": [0, 1, 2], "lives": [5, 5, 5, 5]}))
    np.savez(root / "b" / "truth.npz", ball_x=np.arange(4))
    np.savez(root / "b" / "branches.npz", frame_index=[1], next_frames=np.zeros((1, 2, 8, 9, 3), np.uint8))
    return root


@fuzz
@given(mutations)
def test_mutated_pngs_are_rejected_or_decoded_exactly(
    pngs: Path, changes: list[tuple[float, str, int]]
) -> None:
    with copy_of(pngs) as source:
        frame = source / "b" / "2.png"
        before = frame.read_bytes()
        frame.write_bytes(mutate(before, changes))
        store = outcome(source)
        assert store is not None
        for index, episode in enumerate(store.episodes):  # what was kept is exact
            first = int(episode.name.partition("@")[2] or 0)
            seed = "abc".index(episode.name[0])
            expected = np.stack(noise(4, "palette", seed, (8, 9))[first : first + episode.num_frames])
            read = store.read(index, np.arange(episode.num_frames), grayscale=False)
            assert np.array_equal(read, expected.transpose(0, 3, 1, 2))


@fuzz
@given(st.sampled_from(["episode.json", "truth.npz", "branches.npz"]), mutations)
def test_mutated_metadata_never_costs_frames(
    pngs: Path, name: str, changes: list[tuple[float, str, int]]
) -> None:
    with copy_of(pngs) as source:
        file = source / "b" / name
        file.write_bytes(mutate(file.read_bytes(), changes))
        store = outcome(source)
        assert store is not None
        assert [episode.num_frames for episode in store.episodes] == [4, 4, 4]
        store.controls(1), store.truth(1), store.control_names(1), store.branches(1)


@fuzz
@given(st.sampled_from([".mp4", ".mkv", ".gif"]), mutations)
def test_mutated_videos_do_not_affect_other_videos(
    videos: Path, suffix: str, changes: list[tuple[float, str, int]]
) -> None:
    with copy_of(videos / suffix[1:]) as source:
        file = source / f"b{suffix}"
        file.write_bytes(mutate(file.read_bytes(), changes))
        store = outcome(source)
        assert store is not None
        assert {"a", "c"} <= {episode.name[0] for episode in store.episodes}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for suffix in ("mp4", "mkv", "gif"):
        for seed, name in enumerate("abc"):
            write_video(root / suffix / f"{name}.{suffix}", noise(5, "palette", seed))
    return root


@fuzz
@given(st.data())
def test_mutated_datasets_are_a_store_or_an_error(datasets: Path, data: st.DataObject) -> None:
    with copy_of(datasets / data.draw(st.sampled_from(["lerobot", "minari", "images"]))) as source:
        files = sorted(path for path in source.rglob("*") if path.is_file())
        file = data.draw(st.sampled_from(files))
        file.write_bytes(mutate(file.read_bytes(), data.draw(mutations)))
        outcome(source)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("datasets")
    episodes = [noise(4, "palette", seed) for seed in range(3)]
    write_lerobot(root / "lerobot", episodes)
    write_lerobot(root / "images", episodes, dtype="image")
    write_minari(root / "minari", episodes, "parquet")
    return root


@pytest.fixture(scope="module")
def stored(pngs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ingest(IngestConfig(pngs, tmp_path_factory.mktemp("stored") / "in")).path


def use(store_path: Path, recording: Path) -> None:
    """Open the store, read all of it, and ingest into it once more; errors are one line."""
    with contextlib.suppress(UserError):
        store = FrameStore.open(store_path)
        for index, episode in enumerate(store.episodes):
            store.read(index, np.arange(episode.num_frames), grayscale=False)
            store.controls(index), store.truth(index)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(UserError):
        source = Path(shutil.copytree(recording, Path(folder) / "in"))
        shutil.copytree(source / "a", source / "d")
        shutil.copytree(store_path, Path(folder) / "in.store")
        open_data(source)


@fuzz
@given(mutations)
def test_mutated_manifest_bytes_are_a_store_or_an_error(
    pngs: Path, stored: Path, changes: list[tuple[float, str, int]]
) -> None:
    with copy_of(stored) as store_path:
        file = store_path / "manifest.json"
        file.write_bytes(mutate(file.read_bytes(), changes))
        use(store_path, pngs)


odd_values = [
    None,
    True,
    -3,
    300,
    2**70,
    0.5,
    float("nan"),
    "",
    "x",
    "../../etc/passwd",
    [],
    {},
    [[1, 2]],
    {"a": 1},
]


@fuzz
@given(st.data())
def test_odd_manifest_values_are_a_store_or_an_error(pngs: Path, stored: Path, data: st.DataObject) -> None:
    with copy_of(stored) as store_path:
        file = store_path / "manifest.json"
        manifest = json.loads(file.read_text())
        place = manifest
        if data.draw(st.booleans()):
            place = data.draw(
                st.sampled_from([*manifest["episodes"], manifest["options"], manifest["splitting"]])
            )
        key = data.draw(st.sampled_from(sorted(place)))
        if data.draw(st.booleans()):
            place[key] = data.draw(st.sampled_from(odd_values))
        else:
            del place[key]
        file.write_text(json.dumps(manifest))
        use(store_path, pngs)
