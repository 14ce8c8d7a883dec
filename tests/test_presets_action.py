"""The preset `action`: a code of a few bits that the decoder depends on, in Breakout and turning views."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ghostpad.presets import preset, train
from recordings import write_pngs

WARMUP, STEPS = 150, 250


def turning_episode(seed: int, num_frames: int = 60) -> list[np.ndarray]:
    """A wide picture seen through a window of 64×64 that turns left, right or not, above a bar that stays."""
    rng = np.random.default_rng(seed)
    blocks = np.random.default_rng(1000).integers(40, 255, (16, 300, 3))
    world = np.kron(blocks, np.ones((4, 4, 1))).astype(np.uint8)
    controls = np.repeat(rng.integers(-1, 2, num_frames), rng.integers(1, 5, num_frames))[:num_frames]
    frames = []
    for offset in np.cumsum(6 * controls) % 500 + 300:
        frame = world[:, offset : offset + 64].copy()
        frame[56:] = 40
        frames.append(frame)
    return frames


def trained(data: Path, out: Path, downsample: int) -> dict[str, float]:
    """Metrics of held-out pairs after a short training with the settings of the preset."""
    config = preset("action")
    quantizer = dataclasses.replace(config.model.quantizer, warmup_steps=WARMUP)
    assert config.model.encoder.tokens == (1, 1) and quantizer.codebook_size <= 2**12
    metrics = train(
        dataclasses.replace(
            config,
            data=data,
            out=out,
            steps=STEPS,
            downsample=downsample,
            model=dataclasses.replace(config.model, quantizer=quantizer),
            validate_every=0,
            validation_micro_batch=0,
            tracker="none",
        )
    )
    return {name.removeprefix("validation_"): value for name, value in metrics.items()}


@pytest.mark.slow
def test_where_the_camera_turns_the_code_says_how_far(tmp_path: Path) -> None:
    data = write_pngs(tmp_path / "in", {f"e{seed:02}": turning_episode(seed) for seed in range(12)})
    metrics = trained(data, tmp_path / "out", downsample=1)
    assert metrics["gain_over_copy_db"] > 5
    assert metrics["delta_psnr_db"] > 4
    assert metrics["perplexity"] > 2


@pytest.mark.slow
def test_in_breakout_the_decoder_depends_on_the_code(tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    from ghostpad.sources.recorder import RecordConfig, record

    data = tmp_path / "bulk_videos"
    record(RecordConfig(out=data, episodes=20, max_frames=100, seed=0, workers=1))
    metrics = trained(data, tmp_path / "out", downsample=2)
    assert metrics["gain_over_copy_db"] > 0.3
    assert metrics["delta_psnr_db"] > 0.5
    assert metrics["perplexity"] > 2
