"""`ghostpad doctor`: each damage of a healthy recording is named by its verdict, and by no other problem."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostpad import cli
from ghostpad.evaluation.config import DoctorConfig
from ghostpad.evaluation.doctor import frames
from ghostpad.evaluation.doctor.diagnosis import diagnose
from ghostpad.evaluation.doctor.model import model_verdicts
from ghostpad.evaluation.doctor.motion import classifier_features, shrink, steady_share
from ghostpad.evaluation.doctor.verdict import Limit, Verdict, judge
from known_models import KnownModel, copy_model
from recordings import write_pngs
from small_model import saved, small_model

NAMES = ["NOOP", "UP", "DOWN", "LEFT", "RIGHT"]
STEPS = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)])
Episode = tuple[list[np.ndarray], list[int]]


def scrolling_game(seed: int, num_frames: int = 150, side: int = 48) -> Episode:
    """A camera over a floor of coloured tiles, which each control moves by two pixels, and a moving lamp."""
    rng = np.random.default_rng(seed)
    tiles = np.random.default_rng(7).integers(0, 6, (130, 130))
    colors = np.array(
        [(80, 80, 80), (110, 92, 72), (66, 110, 100), (113, 100, 74), (92, 92, 140), (120, 120, 120)]
    )
    floor = colors[tiles.repeat(4, 0).repeat(4, 1)].astype(np.uint8)
    held: list[int] = []
    while len(held) < num_frames - 1:
        held += [int(rng.integers(5))] * int(rng.integers(1, 9))
    held = held[: num_frames - 1]
    places = np.concatenate([[[236, 236]], 236 + np.cumsum(2 * STEPS[held], 0)]) % 460
    pictures = []
    for time, (top, left) in enumerate(places):
        picture = floor[top : top + side, left : left + side].copy()
        lamp = 2 * time % (side - 4)
        picture[2:6, lamp : lamp + 4] = (236, 236, 80)
        pictures.append(picture)
    return pictures, held


def write_game(root: Path, episodes: list[Episode]) -> Path:
    """Write episodes with their controls."""
    write_pngs(root, {f"e{number:02}": pictures for number, (pictures, _) in enumerate(episodes)})
    for number, (_, held) in enumerate(episodes):
        metadata = {"controls": held, "control_names": NAMES}
        (root / f"e{number:02}" / "episode.json").write_text(json.dumps(metadata))
    return root


def jpeg(picture: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=10)
    return np.asarray(Image.open(buffer).convert("RGB"))


def healthy(episode: Episode) -> Episode:
    return episode


def duplicated(episode: Episode) -> Episode:
    pictures, held = episode
    return [picture for picture in pictures for _ in range(2)], [*np.repeat(held, 2).tolist(), held[-1]]


def shifted_late(episode: Episode) -> Episode:
    return episode[0], [0, *episode[1][:-1]]


def shifted_early(episode: Episode) -> Episode:
    return episode[0], [*episode[1][1:], 0]


def compressed(episode: Episode) -> Episode:
    return [jpeg(picture) for picture in episode[0]], episode[1]


def every_eighth(episode: Episode) -> Episode:
    pictures = episode[0][::8]
    return pictures, episode[1][::8][: len(pictures) - 1]


def diagnosed(root: Path, damage=healthy, num: int = 12) -> dict[str, Verdict]:
    data = write_game(root / "game", [damage(scrolling_game(seed)) for seed in range(num)])
    return {verdict.name: verdict for verdict in diagnose(DoctorConfig(data, workers=1))}


def problems(verdicts: dict[str, Verdict]) -> set[str]:
    return {name for name, verdict in verdicts.items() if verdict.status == "problem"}


def test_a_healthy_recording_has_neither_problems_nor_warnings(tmp_path):
    verdicts = diagnosed(tmp_path)
    assert {verdict.status for verdict in verdicts.values()} == {"ok"}
    assert verdicts["best stride"].value == 1
    assert verdicts["controls shifted"].value == 0
    assert not any(verdict.setting for verdict in verdicts.values())


@pytest.mark.parametrize(
    ("damage", "name", "setting"),
    [
        (duplicated, "duplicate frames", "--stride 2"),
        (shifted_late, "controls shifted", "move `controls` in each episode.json by 1 towards the start"),
        (shifted_early, "controls shifted", "move `controls` in each episode.json by 1 towards the end"),
        (compressed, "compression: block edges", "a recording without loss: PNG, FFV1, or H.264 with qp 0"),
        (every_eighth, "frame interval too long", "closer frames"),
    ],
)
def test_each_damage_is_the_only_problem_and_names_its_setting(damage, name, setting, tmp_path):
    verdicts = diagnosed(tmp_path, damage)
    assert problems(verdicts) == {name}
    assert verdicts[name].setting.startswith(setting)


def test_motion_lost_to_compression_is_not_blamed_on_the_frame_interval():
    assert frames.interval_too_long(0.01, damaged=False).status == "problem"
    assert frames.interval_too_long(0.01, damaged=True).status == "unknown"
    assert frames.interval_too_long(0.5, damaged=True).status == "ok"


def test_the_best_stride_skips_duplicates_with_and_without_controls(tmp_path):
    assert diagnosed(tmp_path, duplicated)["best stride"].setting == "--stride 2"
    data = write_pngs(
        tmp_path / "unlabelled", {f"e{seed}": duplicated(scrolling_game(seed))[0] for seed in range(4)}
    )
    verdicts = {verdict.name: verdict for verdict in diagnose(DoctorConfig(data, workers=1))}
    assert verdicts["best stride"].setting == "--stride 2"
    assert verdicts["labels needed"].status == verdicts["controls shifted"].status == "unknown"
    assert verdicts["labels needed"].finding == "the controls were not recorded"


def test_too_few_episodes_are_a_problem_and_leave_no_number_for_controls(tmp_path):
    verdicts = diagnosed(tmp_path, num=2)
    assert problems(verdicts) == {"number of episodes"}
    assert verdicts["labels needed"].status == "unknown"


@pytest.mark.parametrize(("pattern", "share"), [("10", 1 / 2), ("10100", 3 / 5), ("11110", 1 / 5), ("1", 0)])
def test_duplicates_are_counted_at_any_ratio_of_rates(pattern, share):
    changed = np.array([mark == "1" for mark in pattern * 60])
    assert frames.duplicate_share([changed, changed[3:]]) == pytest.approx(share, abs=0.01)


def test_a_game_that_often_stands_still_has_no_duplicates():
    changed = np.random.default_rng(0).random((5, 400)) < 0.3
    assert frames.duplicate_share(list(changed)) == 0


def test_moments_of_the_change_measure_the_motion_of_an_object():
    pair = np.zeros((2, 1, 60, 60), np.float32)
    pair[0, 0, 22:26, 31:35] = 1
    pair[1, 0, 23:27, 33:37] = 1
    features = classifier_features(pair[0], pair[1])
    moments = features[:, -108:].reshape(3, 6, 6)
    assert moments[:, 2, 3].tolist() == pytest.approx([0, 16 * 1, 16 * 2], abs=1e-3)


def test_the_shift_of_the_whole_frame_and_of_each_half_is_found():
    floor = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    shifts = classifier_features(floor[:, 8:56, 8:56], floor[:, 5:53, 10:58])[0, :15].reshape(5, 3)
    assert (shifts[:, :2] == (3, -2)).all()


def test_motion_is_steady_only_where_it_continues():
    floor = np.random.default_rng(0).random((200, 200)).astype(np.float32) * 255
    at = lambda *tops: np.stack([floor[top : top + 64, 50:114] for top in tops])[None]  # noqa: E731
    assert steady_share(at(50, 53, 56)) > 0.8
    assert steady_share(at(50, 53, 46)) < 0.05
    assert np.isnan(steady_share(at(50, 50, 50)))


def test_large_frames_are_averaged_and_small_ones_are_not():
    pictures = np.arange(2 * 210 * 160).reshape(2, 210, 160).astype(np.uint8)
    assert shrink(pictures).shape == (2, 105, 80)
    assert shrink(pictures)[0, 0, 0] == pictures[0, :2, :2].mean()
    assert shrink(pictures[:, :64, :48]).shape == (2, 64, 48)


def test_a_limit_has_two_sides():
    limit = Limit(0.5, 0.9, "%")
    assert [limit.status(value) for value in (0.5, 0.6, 0.91)] == ["ok", "warning", "problem"]
    assert str(limit).replace("\N{NO-BREAK SPACE}", " ") == "at most 50.0 %, problem above 90.0 %"
    limit = Limit(10, 3, at_least=True)
    assert [limit.status(value) for value in (10, 3, 2)] == ["ok", "warning", "problem"]
    assert judge("name", float("nan"), limit, "", "").status == "unknown"


def test_a_perfect_model_is_fine_and_a_copying_one_ignores_its_codes(store):
    model = KnownModel()
    model.codebook_size = 16
    verdicts = {verdict.name: verdict for verdict in model_verdicts(model, store, seed=0)}
    assert verdicts["good enough to go on"].status == "ok"
    assert verdicts["decoder ignores the codes"].status == "ok"
    verdicts = {verdict.name: verdict for verdict in model_verdicts(copy_model(), store, seed=0)}
    assert verdicts["decoder ignores the codes"].status == "problem"
    assert verdicts["good enough to go on"].value == 0


def test_a_codebook_of_which_one_code_is_used_has_collapsed(store):
    model = copy_model()
    model.encode = lambda pictures, next_pictures: np.zeros((len(pictures), 4, 3), np.int64)
    model.decode = lambda pictures, codes: pictures.astype(np.float32) / 255
    verdicts = {verdict.name: verdict for verdict in model_verdicts(model, store, seed=0)}
    assert verdicts["codebook collapsed"].status == "problem"
    assert verdicts["bits per bit of the controls"].status == "warning"


def test_the_page_and_the_values_state_each_verdict_and_the_exit_status_reports_problems(
    store, store_path, tmp_path, capsys
):
    out, model = tmp_path / "out", saved(small_model(store), tmp_path / "model.pt")
    status = cli.main(["doctor", "--data", str(store_path), "--model", str(model), "--out", str(out)])
    shown = capsys.readouterr().out
    values = json.loads((out / "doctor.json").read_text())
    page = (out / "doctor.html").read_text()
    found = {row["name"]: row["status"] for row in values["verdicts"]}
    assert status == 1
    assert found["good enough to go on"] == "problem"
    assert all(name in page and name in shown for name in found)
    assert "http" not in page.replace("http-equiv", "")


def test_warnings_alone_leave_the_exit_status_at_zero(tmp_path, capsys):
    data = write_game(tmp_path / "game", [scrolling_game(seed) for seed in range(6)])
    assert cli.main(["doctor", "--data", str(data), "--workers", "1"]) == 0
    assert capsys.readouterr().out.endswith("0 problems, 1 warning\n")


def test_mistakes_have_exit_status_two(store_path, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert cli.main(["doctor", "--data", str(tmp_path / "nowhere")]) == 2
    assert cli.main(["doctor", "--data", str(store_path), "--out", str(file)]) == 2
    assert cli.main(["doctor", "--data", str(store_path), "--model", str(tmp_path / "no.pt")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
