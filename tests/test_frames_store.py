"""The store: bit-exact for every kind of source, and updated by the smallest step."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.frames import ingest as ingest_module
from ghostpad.frames.ingest import IngestConfig, ingest, open_data
from ghostpad.frames.manifest import read_rejected
from ghostpad.frames.store import FrameStore
from ghostpad.luma import luma
from recordings import noise, write_pngs


def random_frames(kind: str, count: int = 5, seed: int = 0) -> list[np.ndarray]:
    """Noise, 20 high and 30 wide."""
    return noise(count, kind, seed, (20, 30))


def as_rgb(frame: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).convert("RGB"))


def check(store: FrameStore, name: str, frames: list[np.ndarray]) -> None:
    """Every pixel of an episode, in colour and in gray as Pillow computes it."""
    index = [episode.name for episode in store.episodes].index(name)
    every = np.arange(len(frames))
    read = store.read(index, every, grayscale=False)
    assert np.array_equal(read, np.stack([as_rgb(frame) for frame in frames]).transpose(0, 3, 1, 2))
    gray = store.read(index, every, grayscale=True)[:, 0]
    assert np.array_equal(
        gray, np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])
    )
    pair = store.read_pair(index, 1, 3, grayscale=False)
    assert np.array_equal(pair, read[[1, 3]].astype(np.float32) / 255)


@pytest.mark.parametrize("kind", ["palette", "rgb", "gray"])
def test_pixels_survive_in_the_smallest_encoding(kind: str, tmp_path: Path) -> None:
    episodes = {f"e{seed}": random_frames(kind, seed=seed) for seed in range(3)}
    store = ingest(IngestConfig(write_pngs(tmp_path / "in", episodes)))
    assert store.encoding == kind
    assert store.path == tmp_path / "in.store"
    for name, frames in episodes.items():
        check(store, name, frames)


def test_the_same_pixels_give_the_same_hash_however_compressed(tmp_path: Path) -> None:
    frames = {"e": random_frames("palette")}
    one = ingest(IngestConfig(write_pngs(tmp_path / "a", frames, compress_level=0)))
    other = ingest(IngestConfig(write_pngs(tmp_path / "b", frames, optimize=True)))
    assert one.fingerprint == other.fingerprint
    frames["e"][4] = frames["e"][4].copy()
    frames["e"][4][7, 7] ^= 1
    assert ingest(IngestConfig(write_pngs(tmp_path / "c", frames))).fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("mode", "lost"), [("P", None), ("RGBA", None), ("LA", None), ("1", None), ("I;16", "16-bit")]
)
def test_pngs_of_other_modes_are_converted_with_a_warning_where_data_is_lost(
    mode: str, lost: str | None, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    gray = random_frames("gray", 2)
    for number, frame in enumerate(gray):
        (tmp_path / "in" / "e").mkdir(parents=True, exist_ok=True)
        if mode == "I;16":
            picture = Image.fromarray(frame.astype(np.uint16) * 257)
        else:
            picture = Image.fromarray(frame).convert("RGB" if mode in ("P", "RGBA") else "L").convert(mode)
        picture.save(tmp_path / "in" / "e" / f"{number}.png")
        if mode in ("1", "P"):  # which lose colours on the way there
            gray[number] = np.asarray(picture.convert("L"))
    store = ingest(IngestConfig(tmp_path / "in"))
    assert np.array_equal(store.read(0, np.arange(2), grayscale=True)[:, 0], np.stack(gray))
    assert [lost in str(warning.message) for warning in recwarn] == ([True] if lost else [])


def test_transparency_is_dropped_with_a_warning(tmp_path: Path) -> None:
    frames = [np.dstack([frame, np.full((20, 30), 9, np.uint8)]) for frame in random_frames("rgb", 2)]
    write_pngs(tmp_path / "in", {"e": frames})
    with pytest.warns(UserWarning, match="transparen"):
        store = ingest(IngestConfig(tmp_path / "in"))
    assert np.array_equal(
        store.read(0, np.array([1]), grayscale=False)[0], frames[1][..., :3].transpose(2, 0, 1)
    )


def test_the_number_of_workers_does_not_change_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    frames = list(
        (rng.integers(0, 40, (2300, 4, 5, 3)) * (np.arange(2300)[:, None, None, None] // 1000 + 1)).astype(
            np.uint8
        )
        % 6
    )
    source = write_pngs(tmp_path / "in", {"long": frames, "short": frames[:3]})
    one = ingest(IngestConfig(source, tmp_path / "one"))
    monkeypatch.setattr(ingest_module, "_FEW_FRAMES", 0)
    two = ingest(IngestConfig(source, tmp_path / "two", workers=2))
    for store in (one, two):
        check(store, "long", frames)
    assert {path.name: path.read_bytes() for path in one.path.iterdir()} == {
        path.name: path.read_bytes() for path in two.path.iterdir()
    }


def test_the_hash_depends_on_the_colour_of_a_single_pixel(tmp_path: Path) -> None:
    hashes = set()
    for value in (0, 10, 20):
        frames = [np.full((8, 8, 3), 200, np.uint8) for _ in range(3)]
        frames[2][4, 4] = value
        hashes.add(ingest(IngestConfig(write_pngs(tmp_path / f"{value}", {"e": frames}))).fingerprint)
    assert len(hashes) == 3


def test_still_transitions_are_counted_in_long_episodes(tmp_path: Path) -> None:
    frames = [np.full((2, 2), number // 2 % 200, np.uint8) for number in range(2300)]
    store = ingest(IngestConfig(write_pngs(tmp_path / "pairs", {"e": frames})))
    assert store.episodes[0].num_still == 1150
    store = ingest(IngestConfig(write_pngs(tmp_path / "border", {"e": [frames[0], *frames[:-1]]})))
    assert store.episodes[0].num_still == 1150


def test_luma_equals_that_of_pillow() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    assert np.array_equal(luma(rgb), np.asarray(Image.fromarray(rgb).convert("L")))


def test_metadata_controls_and_truth_are_those_of_the_recording(
    store: FrameStore, episodes_folder: Path
) -> None:
    for index, episode in enumerate(store.episodes):
        folder = episodes_folder / episode.name
        metadata = json.loads((folder / "episode.json").read_text())
        assert episode.metadata == metadata
        controls, truth = store.controls(index), store.truth(index)
        assert controls is not None
        assert truth is not None
        assert controls.tolist() == metadata["controls"]
        assert store.control_names(index) == metadata["control_names"]
        with np.load(folder / "truth.npz") as archive:
            assert all(np.array_equal(truth[name], archive[name]) for name in archive.files)


def test_frame_numbers_may_start_anywhere(tmp_path: Path) -> None:
    source = write_pngs(tmp_path / "in", {"e": random_frames("palette", 7)})
    for number in reversed(range(7)):
        (source / "e" / f"{number}.png").rename(source / "e" / f"{number + 10}.png")
    (source / "e" / "13.png").unlink()
    (source / "e" / "episode.json").write_text(json.dumps({"controls": [0, 1, 2, 3, 0, 1]}))
    store = ingest(IngestConfig(source, on_bad="skip"))
    controls = [store.controls(index) for index in (0, 1)]
    assert [part is not None and part.tolist() for part in controls] == [[0, 1], [0, 1]]
    assert [episode.name for episode in store.episodes] == ["e", "e@14"]


def test_an_update_reads_only_new_and_changed_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_pngs(tmp_path / "in", {f"e{seed}": random_frames("gray", seed=seed) for seed in range(4)})
    before = open_data(source)
    read: list[str] = []
    encode = ingest_module.encode_unit
    monkeypatch.setattr(
        ingest_module, "encode_unit", lambda task: read.append(task.unit.name) or encode(task)
    )
    assert open_data(source).fingerprint == before.fingerprint
    assert read == []
    write_pngs(source, {"e10": random_frames("gray", seed=10)})
    shutil.rmtree(source / "e1")
    Image.fromarray(random_frames("gray", seed=77)[0]).save(source / "e2" / "0.png")
    after = open_data(source)
    assert read == ["e2", "e10"]
    assert [episode.name for episode in after.episodes] == ["e0", "e2", "e3", "e10"]
    check(after, "e0", random_frames("gray", seed=0))
    check(after, "e10", random_frames("gray", seed=10))
    files = {path.stem for path in after.path.glob("*.npy")}
    assert files == {episode.files.name for episode in after.episodes}, "unused files must be removed"


def test_rejected_json_follows_repairs_of_the_source(tmp_path: Path) -> None:
    source = write_pngs(tmp_path / "in", {f"e{seed}": noise(5, "palette", seed) for seed in range(4)})
    for episode in ("e1", "e2"):
        shutil.copyfile(source / episode / "2.png", tmp_path / f"{episode}.png")
        (source / episode / "2.png").write_bytes(b"")

    def rejected() -> list[str]:
        store = ingest(IngestConfig(source, on_bad="skip"))
        return [row["unit"] for row in read_rejected(store.path)]

    assert rejected() == ["e1", "e2"]
    shutil.move(tmp_path / "e1.png", source / "e1" / "2.png")
    assert rejected() == ["e2"]
    shutil.move(tmp_path / "e2.png", source / "e2" / "2.png")
    assert rejected() == []


@pytest.mark.parametrize(
    ("before", "after", "encoding"),
    [
        ("gray", "palette", "palette"),
        ("palette", "rgb", "rgb"),
        ("gray", "rgb", "rgb"),
        ("rgb", "gray", "rgb"),
    ],
)
def test_an_added_episode_may_change_the_encoding(
    before: str, after: str, encoding: str, tmp_path: Path
) -> None:
    def frames(kind: str, seed: int) -> list[np.ndarray]:
        return [frame // 60 if kind != "rgb" else frame for frame in random_frames(kind, seed=seed)]

    source = write_pngs(tmp_path / "in", {"e0": frames(before, 0), "e1": frames(before, 1)})
    assert ingest(IngestConfig(source)).encoding == before
    write_pngs(source, {"e2": frames(after, 2)})
    store = ingest(IngestConfig(source))
    assert store.encoding == encoding
    for name, kind, seed in (("e0", before, 0), ("e1", before, 1), ("e2", after, 2)):
        check(store, name, frames(kind, seed))


def test_frames_are_resized_only_on_request(tmp_path: Path) -> None:
    source = write_pngs(tmp_path / "in", {"e": random_frames("rgb")})
    assert (ingest(IngestConfig(source, tmp_path / "a", height=10)).width) == 15
    squeezed = ingest(IngestConfig(source, tmp_path / "b", height=10, width=10))
    cropped = ingest(IngestConfig(source, tmp_path / "c", height=10, width=10, crop=True))
    assert (squeezed.height, squeezed.width) == (cropped.height, cropped.width) == (10, 10)
    middle = (
        Image.fromarray(random_frames("rgb")[0]).crop((5, 0, 25, 20)).resize((10, 10), Image.Resampling.BOX)
    )
    assert np.array_equal(
        cropped.read(0, np.array([0]), grayscale=False)[0].transpose(1, 2, 0), np.asarray(middle)
    )
    with pytest.raises(UserError, match="made with height = 10, not None"):
        ingest(IngestConfig(source, tmp_path / "a"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: manifest.update(version=99),
        lambda manifest: manifest["episodes"][0].update(file="../../secret"),
        lambda manifest: manifest["episodes"][0].update(file="/etc/passwd"),
        lambda manifest: manifest["episodes"][0].pop("sha256"),
        lambda manifest: manifest.update(colors=[[1, 2], [3, 4], [5]]),
        lambda manifest: manifest.update(episodes=7),
        lambda manifest: manifest.update(height="tall"),
    ],
)
def test_a_damaged_manifest_is_a_clear_error(damage: object, store: FrameStore, tmp_path: Path) -> None:
    path = Path(shutil.copytree(store.path, tmp_path / "s"))
    manifest = json.loads((path / "manifest.json").read_text())
    damage(manifest)  # type: ignore[operator]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="ingest again"):
        FrameStore.open(path)


def test_a_damaged_array_is_a_clear_error(store: FrameStore, tmp_path: Path) -> None:
    path = Path(shutil.copytree(store.path, tmp_path / "s"))
    file = path / "000000.npy"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"000000\.npy.*ingest again"):
        FrameStore.open(path).array(0)
    with pytest.raises(UserError, match="is not a frame store"):
        FrameStore.open(tmp_path)
