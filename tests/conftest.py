"""What every test file shares: a quiet environment, and a little real Breakout, recorded once a session."""

import os

os.environ["OMP_WAIT_POLICY"] = "passive"  # before torch loads: spinning threads starve the other workers
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores
os.environ["WANDB_MODE"] = "disabled"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import pathlib
import signal
import typing

import pytest

if typing.TYPE_CHECKING:
    from ghostpad.frames.store import FrameStore

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and programs under test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def episodes_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Four episodes of 40 frames of real Breakout, as PNG folders. Read only: copy it before changing it."""
    pytest.importorskip("ale_py")
    from ghostpad.sources.recorder import RecordConfig, record

    out = tmp_path_factory.mktemp("recorded") / "bulk_videos"
    record(RecordConfig(out=out, episodes=4, max_frames=40, seed=0, workers=2))
    return out


@pytest.fixture(scope="session")
def store(episodes_folder: pathlib.Path) -> "FrameStore":
    """The frame store of `episodes_folder`. Read only."""
    from ghostpad.frames.ingest import open_data

    return open_data(episodes_folder)


@pytest.fixture(scope="session")
def store_path(store: "FrameStore") -> pathlib.Path:
    """Where `store` lies."""
    return store.path


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder of three episodes, six frames of noise each."""
    from recordings import noise, write_pngs

    return write_pngs(tmp_path / "in", {name: noise(6, "palette", seed) for seed, name in enumerate("abc")})
