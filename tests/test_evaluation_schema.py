"""The schema of `metrics.json`: documented, and kept by what is written."""

import pathlib

import pytest

from ghostpad.evaluation.assess import assess
from ghostpad.evaluation.config import Amounts
from ghostpad.evaluation.schema import VERSION, describe_all, get, keys_of, nest
from ghostpad.games import game_named
from known_models import KnownModel

KEYS = keys_of(game_named("breakout"))
_STABLE = """
version split num_episodes num_transitions color height width
reconstruction.psnr_db reconstruction.ssim reconstruction.l1 reconstruction.l2 reconstruction.copy_psnr_db
reconstruction.gain_over_copy_db reconstruction.moving_psnr_db reconstruction.copy_moving_psnr_db
reconstruction.delta_psnr_db codebook.size codebook.usage codebook.active codebook.perplexity
codebook.bits_per_transition elements.ball.within_1px elements.ball.within_2px elements.ball.median_px
elements.ball.detected elements.ball.false_share elements.paddle.within_1px elements.paddle.within_2px
elements.paddle.median_px elements.paddle.iou elements.bricks.state_accuracy elements.bricks.vanish_precision
elements.bricks.vanish_recall agreement.accuracy agreement.chance agreement.shuffled agreement.ceiling
agreement.share_of_ceiling events.mutual_information_bits.paddle
"""
"""Keys that scripts of others rely on; taking one away or renaming it needs a new version."""


@pytest.fixture(scope="module")
def metrics(store):
    amounts = Amounts(ssim=8, counterfactual=16, other_splits=16, examples=1, galleries=1, tsne=0)
    return assess(KnownModel(), store, "test", amounts, seed=0).metrics


def test_the_page_documents_every_key():
    page = (pathlib.Path(__file__).parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert describe_all() in page, "run python benchmarks/metrics_page.py"


@pytest.mark.parametrize("key", _STABLE.split())
def test_stable_keys_are_there(metrics, key):
    assert key in KEYS
    *path, last = key.split(".")
    assert last in (get(metrics, ".".join(path)) if path else metrics)


def test_distances_are_measured(metrics):
    assert metrics["elements"]["paddle"]["median_px"] == 0
    assert metrics["elements"]["paddle"]["copy_p95_px"] > 0


def test_twins_stand_beside_every_element(metrics):
    for part in ("ball", "paddle", "bricks"):
        own = {key for key in metrics["elements"][part] if not key.startswith("copy_")}
        assert own == {key.removeprefix("copy_") for key in metrics["elements"][part] if key not in own}


def test_units_hold(metrics):
    assert metrics["version"] == VERSION
    checked = 0
    for key, (unit, *_) in KEYS.items():
        value = get(metrics, key)
        if isinstance(value, float) and (unit.startswith("share") or unit == "0…1"):
            assert -1e-6 <= value <= 1 + 1e-6, key
            checked += 1
        if isinstance(value, int) and unit in ("transitions", "episodes", "frames", "pixels"):
            assert value >= 0, key
    assert checked > 30


def test_nothing_is_written_that_the_schema_does_not_know(metrics):
    def unknown(value, key=""):
        if key in KEYS or not isinstance(value, dict):
            return [] if key in KEYS or not key else [key]
        known_below = any(name.startswith(f"{key}.") for name in KEYS) or not key
        if not known_below:
            return [key]
        return [found for name, part in value.items() for found in unknown(part, f"{key}.{name}".lstrip("."))]

    by_event = ("mutual_information_bits", "shuffled_bits", "clear_bits", "clear", "count")
    found = [
        key for key in unknown(metrics) if not key.startswith(tuple(f"events.{name}." for name in by_event))
    ]
    assert found == []


def test_nest():
    assert nest({"a.b.c": 1, "a.d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
