"""Small recordings of every kind that Ghostpad reads, for the tests of frames."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def noise(
    count: int = 5, kind: str = "rgb", seed: int = 0, size: tuple[int, int] = (32, 48)
) -> list[np.ndarray]:
    """Frames of noise: of all colours (`rgb`), of 40 colours (`palette`), or of all grays (`gray`)."""
    rng = np.random.default_rng(seed)
    if kind == "palette":
        colors = np.random.default_rng(99).integers(0, 256, (40, 3), np.uint8)
        return list(colors[rng.integers(0, 40, (count, *size))])
    shape = (count, *size) if kind == "gray" else (count, *size, 3)
    return list(rng.integers(0, 256, shape, np.uint8))


def write_pngs(root: Path, episodes: dict[str, list[np.ndarray]], **save: object) -> Path:
    """Write PNG episodes below `root`."""
    for name, frames in episodes.items():
        (root / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(root / name / f"{number}.png", **save)
    return root


def write_video(path: Path, frames: list[np.ndarray], fps: int = 30, lossy: bool = False) -> Path:
    """Write a video that loses nothing (RGB H.264; FFV1 in gray), or a 4:2:0 one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    gray = frames[0].ndim == 2
    if path.suffix == ".gif":
        first, *rest = (Image.fromarray(frame).quantize(256) for frame in frames)
        first.save(path, save_all=True, append_images=rest, duration=1000 // fps)
        return path
    codec, pixels = ("ffv1", "gray") if gray else ("libx264rgb", "rgb24")
    options = {} if gray else {"qp": "0"}
    if lossy:
        codec, pixels, options = ("libvpx-vp9" if path.suffix == ".webm" else "libx264"), "yuv420p", {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame), format="gray" if gray else "rgb24"
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


CONTROLS = [[number] for number in range(4)]


def _action_feature(actions: list[list[float]], names: list[str] | None) -> dict[str, object]:
    return {"dtype": "float32", "shape": [len(actions[0])], "names": names or ["control"]}


def write_lerobot(
    root: Path,
    episodes: list[list[np.ndarray]],
    fps: int = 15,
    dtype: str = "video",
    cameras: int = 1,
    actions: list[list[float]] = CONTROLS,
    names: list[str] | None = None,
) -> Path:
    """Write a LeRobotDataset v3: all episodes in one video (or as PNGs in the table), an action per frame."""
    keys = [f"observation.images.view{number}" for number in range(cameras)]
    features = {key: {"dtype": dtype, "shape": [*episodes[0][0].shape]} for key in keys}
    features["action"] = _action_feature(actions, names)
    if actions is CONTROLS:
        features["action"]["info"] = {"control_names": ["NOOP", "FIRE", "RIGHT", "LEFT"]}
    info = {
        "codebase_version": "v3.0",
        "fps": fps,
        "features": features,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    rows, table, start = [], [], 0
    for index, frames in enumerate(episodes):
        row = {"episode_index": index, "length": len(frames), "data/chunk_index": 0, "data/file_index": 0}
        for key in keys:
            row |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
            row |= {f"videos/{key}/from_timestamp": start / fps}
            row |= {f"videos/{key}/to_timestamp": (start + len(frames)) / fps}
        rows.append(row)
        start += len(frames)
        for number, frame in enumerate(frames):
            line = {"episode_index": index, "frame_index": number, "action": actions[(index + number) % 4]}
            if dtype == "image":
                line |= {key: {"bytes": _png(frame), "path": f"{number}.png"} for key in keys}
            table.append(line)
    for name, lines in (("meta/episodes", rows), ("data", table)):
        (root / name / "chunk-000").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(lines), root / name / "chunk-000" / "file-000.parquet")
    (root / "meta" / "info.json").write_text(json.dumps(info))
    for key in keys if dtype == "video" else []:
        every = [frame for frames in episodes for frame in frames]
        write_video(root / "videos" / key / "chunk-000" / "file-000.mp4", every, fps)
    return root


def write_lerobot_v2(
    root: Path,
    episodes: list[list[np.ndarray]],
    fps: int = 15,
    dtype: str = "video",
    cameras: int = 1,
    version: str = "v2.1",
    actions: list[list[float]] = CONTROLS,
    names: list[str] | None = None,
) -> Path:
    """Write a LeRobotDataset in version 2: a table and videos for each episode, two episodes in a chunk."""
    keys = [f"observation.images.view{number}" for number in range(cameras)]
    features = {key: {"dtype": dtype, "shape": [*episodes[0][0].shape]} for key in keys}
    features["action"] = _action_feature(actions, names)
    info = {
        "codebase_version": version,
        "fps": fps,
        "features": features,
        "chunks_size": 2,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = []
    for index, frames in enumerate(episodes):
        lines.append(json.dumps({"episode_index": index, "tasks": [""], "length": len(frames)}))
        table = []
        for number, frame in enumerate(frames):
            row = {"episode_index": index, "frame_index": number, "action": actions[(index + number) % 4]}
            if dtype == "image":
                row |= {key: {"bytes": _png(frame), "path": None} for key in keys}
            table.append(row)
        data = root / "data" / f"chunk-{index // 2:03d}" / f"episode_{index:06d}.parquet"
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(table), data)
        for key in keys if dtype == "video" else []:
            folder = root / "videos" / f"chunk-{index // 2:03d}" / key
            write_video(folder / f"episode_{index:06d}.mp4", frames, fps)
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    return root


def _png(frame: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()


def _space(shape: tuple[int, ...]) -> dict[str, object]:
    return {"type": "Box", "dtype": "uint8", "shape": [*shape], "low": 0, "high": 255}


def write_minari(
    root: Path,
    episodes: list[list[np.ndarray]],
    kind: str = "hdf5",
    jpeg: bool = False,
    actions: np.ndarray | dict[str, np.ndarray] | None = None,
) -> Path:
    """Write a Minari dataset as its own library does: N + 1 observations, N actions (the same in each)."""
    data = root / "data"
    data.mkdir(parents=True)
    space = _space(episodes[0][0].shape)
    if kind == "hdf5-dict":
        space = {
            "type": "Dict",
            "subspaces": {"pixels": space, "speed": {"type": "Box", "dtype": "float32", "shape": [2]}},
        }
    (data / "metadata.json").write_text(
        json.dumps({"data_format": kind, "observation_space": json.dumps(space)})
    )
    if kind.startswith("hdf5"):
        import h5py

        with h5py.File(data / "main_data.hdf5", "w") as file:
            for index, frames in enumerate(episodes):
                group = file.create_group(f"episode_{index}")
                group.attrs["total_steps"] = len(frames) - 1
                place = "observations/pixels" if kind == "hdf5-dict" else "observations"
                group[place] = np.stack(frames)
                values = np.arange(len(frames) - 1) % 4 if actions is None else actions
                for name, part in values.items() if isinstance(values, dict) else [("", values)]:
                    group[f"actions/{name}".strip("/")] = part
        return root
    for index, frames in enumerate(episodes):
        folder = data / str(index)
        folder.mkdir()
        flat = np.stack(frames).reshape(len(frames), -1)
        values = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
        if jpeg:
            values = pa.array([_jpeg(frame) for frame in frames])
        taken = np.arange(len(frames) - 1) % 4 if actions is None else actions
        if isinstance(taken, dict):
            padded = [np.append(part, 0) for part in taken.values()]
            column = pa.StructArray.from_arrays([pa.array(part) for part in padded], [*taken])
        else:
            column = pa.array([*taken.tolist(), None])
        batch = pa.table({"observations": values, "actions": column})
        if kind == "parquet":
            pq.write_table(batch, folder / "part-0.parquet")
        else:
            with pa.ipc.new_file(folder / "part-0.arrow", batch.schema) as writer:
                writer.write_table(batch)
    return root


def _jpeg(frame: np.ndarray) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="JPEG")
    return buffer.getvalue()


def rewrite_manifest(labels: Path, old: str, new: str) -> None:
    """Change a text in the manifest of a labels folder, as when the store has moved."""
    from ghostpad.labels.folder import Labels, write_manifest

    write_manifest(labels, json.loads(json.dumps(Labels.open(labels).manifest).replace(old, new)))
