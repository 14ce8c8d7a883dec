"""Pong: its truth, detector and events; and evaluation of a game that is not in the registry."""

import json

import numpy as np
import pytest

from ghostpad.evaluation.assess import assess
from ghostpad.evaluation.config import Amounts
from ghostpad.frames.ingest import open_data
from ghostpad.games import game_named, recognize
from ghostpad.sources.recorder import RecordConfig, record
from known_models import KnownModel

PONG = game_named("pong")
FEW = Amounts(ssim=8, ceiling_seeds=0, counterfactual=16, other_splits=16, examples=2, galleries=2, tsne=0)


@pytest.fixture(scope="module")
def pong_store(tmp_path_factory):
    pytest.importorskip("ale_py")
    out = tmp_path_factory.mktemp("pong") / "videos"
    record(RecordConfig(out=out, game="pong", episodes=3, max_frames=120, workers=1))
    return open_data(out)


@pytest.mark.parametrize("grayscale", [True, False])
def test_detector_agrees_with_memory(pong_store, grayscale):
    num_balls = 0
    for episode in range(3):
        truth = {name: column[1:] for name, column in pong_store.truth(episode).items()}  # 0 is not drawn yet
        pictures = pong_store.read(episode, np.arange(1, pong_store.episodes[episode].num_frames), grayscale)
        assert recognize(pictures).name == "pong"
        found = PONG.detect(pictures)
        for column in ("ball_x", "ball_y", "paddle_y", "paddle_height"):
            assert np.abs(found[column] - truth[column]).max() <= 1, column
        whole = truth["opponent_height"] == 16
        assert np.abs(found["opponent_y"] - truth["opponent_y"])[whole].max() <= 1
        assert ((found["num_balls"] == 1) == (truth["ball_x"] >= 0)).all()
        num_balls += (truth["ball_x"] >= 0).sum()
    assert num_balls > 20


def path(ball, paddle=None) -> dict[str, np.ndarray]:
    num = len(ball)
    return {
        "ball_x": np.array([-1 if place is None else place[0] for place in ball]),
        "ball_y": np.array([-1 if place is None else place[1] for place in ball]),
        "paddle_y": np.array(paddle or [100] * num),
        "paddle_height": np.full(num, 16),
    }


def test_bounces_and_points():
    columns = PONG.events(path([(118, 80), (128, 82), (136, 84), (130, 86), (120, 88), (110, 90)]), 1)
    assert np.flatnonzero(columns["bounce_paddle"]).tolist() == [2]
    columns = PONG.events(path([(80, 46), (76, 40), (72, 36), (68, 42), (64, 48), (60, 54)]), 1)
    assert columns["bounce_wall"].sum() == 1
    columns = PONG.events(path([(140, 80), (150, 82), None, None, (80, 90)]), 1)
    assert np.flatnonzero(columns["point_lost"]).tolist() == [1]
    assert np.flatnonzero(columns["ball_launched"]).tolist() == [3]
    assert not columns["point_won"].any()
    columns = PONG.events(path([(20, 80), (10, 82), None]), 1)
    assert np.flatnonzero(columns["point_won"]).tolist() == [1]
    assert not columns["point_lost"].any()


def test_paddle_that_leaves_the_field_moves_by_its_other_end():
    table = path([None] * 3, paddle=[36, 34, 34])
    table["paddle_height"] = np.array([16, 14, 10])
    assert PONG.events(table, 1)["paddle_up"].tolist() == [True, True]


def test_evaluation_of_pong_has_its_own_elements(pong_store):
    metrics = assess(KnownModel(), pong_store, "test", FEW, seed=0).metrics
    assert metrics["game"] == "pong"
    elements = metrics["elements"]
    assert elements["ball"]["within_1px"] == elements["paddle"]["iou"] == elements["opponent"]["iou"] == 1
    assert elements["bricks"]["state_accuracy"] is None
    assert metrics["absent"]["elements.bricks"] == "not part of this game"
    assert metrics["events"]["source"] == "truth"
    assert metrics["events"]["mutual_information_bits"]["paddle"] > 0
    assert metrics["agreement"]["classes"] == ["stay", "right", "left"]


class Unknown:
    """A store without truth and controls, of a game that no detector knows."""

    def __init__(self, store):
        self.store = store

    def __getattr__(self, name):
        return getattr(self.store, name)

    def read(self, episode, frames, grayscale):
        return 255 - self.store.read(episode, frames, grayscale)

    def truth(self, episode):
        return None

    def controls(self, episode):
        return None


def test_any_game_without_truth(pong_store):
    metrics = assess(KnownModel(), Unknown(pong_store), "test", FEW, seed=0).metrics
    assert metrics["game"] is None
    assert metrics["reconstruction"]["psnr_db"] == 100
    assert metrics["elements"]["ball"]["within_1px"] is None
    absent = metrics["absent"]
    assert "no detector recognizes" in absent["elements"]
    assert "no detector recognizes" in absent["events"]
    assert "controls were not recorded" in absent["agreement"]
    json.dumps(metrics, allow_nan=False)
