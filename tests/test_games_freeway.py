"""Freeway: its truth, detector and events; and evaluation of a game with several objects of one kind."""

import re

import numpy as np
import pytest

from ghostpad.evaluation.assess import assess
from ghostpad.evaluation.config import Amounts
from ghostpad.evaluation.report.render import render
from ghostpad.evaluation.schema import NOT_IN_GAME
from ghostpad.frames.ingest import open_data
from ghostpad.games import GAMES, game_named, recognize
from ghostpad.sources.recorder import RecordConfig, record
from ghostpad.sums import total
from known_models import KnownModel

FREEWAY = game_named("freeway")
FEW = Amounts(ssim=8, ceiling_seeds=0, counterfactual=16, other_splits=16, examples=2, galleries=2, tsne=0)


@pytest.fixture(scope="module")
def freeway_store(tmp_path_factory):
    pytest.importorskip("ale_py")
    out = tmp_path_factory.mktemp("freeway") / "videos"
    record(RecordConfig(out=out, game="freeway", episodes=3, max_frames=180, policy="tracker", workers=1))
    return open_data(out)


@pytest.mark.parametrize("grayscale", [True, False])
def test_detector_agrees_with_memory(freeway_store, grayscale):
    num_partial = num_away = 0
    for episode in range(3):
        frames = np.arange(1, freeway_store.episodes[episode].num_frames)  # 0 is not drawn yet
        truth = {name: column[frames] for name, column in freeway_store.truth(episode).items()}
        pictures = freeway_store.read(episode, frames, grayscale)
        assert recognize(pictures).name == "freeway"
        found = FREEWAY.detect(pictures)
        # A car that hides most of the player leaves some doubt.
        assert np.abs(found["player_y"] - truth["player_y"]).max() <= 2
        assert (found["player_y"] == truth["player_y"]).mean() > 0.97
        assert (found["player_height"] == truth["player_height"]).all()
        both = (found["car_x"] >= 0) & (truth["car_x"] >= 0)
        assert np.abs(found["car_x"] - truth["car_x"])[both].max() <= 1
        assert np.abs(found["car_width"] - truth["car_width"]).max() <= 1
        num_partial += (both & (truth["car_width"] < 8)).sum()
        num_away += (truth["car_x"] < 0).sum()
    assert num_partial > 100
    assert num_away > 0


def test_every_crossing_scores(freeway_store):
    crossed = 0
    for episode in range(3):
        truth = freeway_store.truth(episode)
        events = FREEWAY.events(truth, 1)
        assert (np.diff(truth["score"]) == events["crossed_road"]).all()
        assert not (events["crossed_road"] & events["player_down"]).any()
        crossed += events["crossed_road"].sum()
    assert crossed >= 1


def test_hits_are_detected_without_memory(freeway_store):
    found, true = [], []
    for episode in range(3):
        truth = freeway_store.truth(episode)
        offset = episode * 1000
        true += list(offset + np.flatnonzero(FREEWAY.events(truth, 1)["hit_car"]))
        del truth["pushed"]
        found += list(offset + np.flatnonzero(FREEWAY.events(truth, 1)["hit_car"]))
    # Every fourth frame of the console is recorded, and a box around a car is larger than the car.
    assert len(true) >= 5
    assert np.mean([np.abs(np.array(found) - hit).min() <= 1 for hit in true]) > 0.75
    assert np.mean([np.abs(np.array(true) - hit).min() <= 1 for hit in found]) > 0.6


def test_car_that_leaves_at_one_edge_appears_at_the_other():
    memory = np.zeros((4, 128), np.uint8)
    memory[:, 117] = [10, 4, 3, 0]
    truth = FREEWAY.truth_from_ram(memory)
    assert truth["car_x"][:, 0].tolist() == [8, 8, -1, 157]
    assert truth["car_width"][:, 0].tolist() == [7, 1, 0, 3]


def test_many_objects_are_scored_together():
    true = {"player_y": np.array([100, 96]), "player_height": np.array([8, 8])}
    true |= {"car_x": np.tile(np.arange(10, 110, 10), (2, 1)), "car_width": np.full((2, 10), 8)}
    predicted = {name: column.copy() for name, column in true.items()}
    predicted["car_x"][0, 0] += 5
    predicted["car_x"][1, :2] = -1
    sums = FREEWAY.score_elements(predicted, true, true)
    assert sums["cars.within_1"].tolist() == [9, 8]
    assert sums["cars.distance"].tolist() == [0.5, 0]
    metrics = FREEWAY.summarize_elements(total(sums))
    assert metrics["cars.detected"] == 18 / 20
    assert metrics["cars.within_2px"] == 17 / 20
    assert metrics["cars.iou"] == pytest.approx((17 + 3 / 13) / 20)
    assert metrics["cars.copy_iou"] == metrics["player.iou"] == 1


@pytest.fixture(scope="module")
def assessment(freeway_store):
    return assess(KnownModel(), freeway_store, "test", FEW, seed=0)


def test_evaluation_of_freeway_has_its_own_elements(assessment):
    metrics = assessment.metrics
    assert metrics["game"] == "freeway"
    elements = metrics["elements"]
    assert elements["player"]["within_1px"] == elements["cars"]["iou"] == 1
    assert elements["cars"]["copy_within_1px"] < 1
    assert metrics["detector"]["cars_within_1px"] == pytest.approx(1, abs=0.01)
    assert metrics["events"]["source"] == "truth"
    assert metrics["events"]["mutual_information_bits"]["player"] > 0
    assert metrics["agreement"]["classes"] == ["stay", "up", "down"]
    assert metrics["transfer"]["player_direction"] is not None
    foreign = {key for key, reason in metrics["absent"].items() if reason == NOT_IN_GAME}
    assert {key.partition(".")[0] for key in foreign} == {"elements", "detector", "transfer", "events"}


def test_the_report_names_no_element_of_another_game(assessment):
    text = re.sub(r"data:[^\"]+", "", render([assessment], FEW, seed=0))
    assert "Cars" in text
    assert "player within 2 px" in text
    others = {name.removesuffix("s") for game in GAMES for name in game.elements} - {"player", "car"}
    assert not set(re.findall("[a-z]+", text.lower())) & {
        word for name in others for word in (name, f"{name}s")
    }
