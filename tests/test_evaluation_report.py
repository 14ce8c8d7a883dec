"""From a model and a store to `metrics.json` and `report.html`."""

import base64
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostpad.errors import UserError
from ghostpad.evaluation import assess as assess_module
from ghostpad.evaluation.assess import assess
from ghostpad.evaluation.config import Amounts
from ghostpad.evaluation.report import evaluate as verb
from ghostpad.evaluation.report.figures import event_styles
from ghostpad.evaluation.report.format import DASH, element_metrics, quantity
from ghostpad.evaluation.report.illustrations import choose_clip
from ghostpad.evaluation.report.pictures import data_uri, over_grid
from ghostpad.evaluation.report.render import film, predict, render
from ghostpad.evaluation.report.summary import criteria, verdicts
from ghostpad.evaluation.schema import complete, keys_of
from ghostpad.evaluation.validation import alarms, validation_metrics
from ghostpad.frames.pairs import Transitions
from ghostpad.frames.store import FrameStore
from ghostpad.games.breakout import detector as breakout
from ghostpad.sources.branches import Branches
from known_models import KnownModel, copy_model, still_model

FEW = Amounts(ssim=16, ceiling_seeds=0, counterfactual=16, other_splits=16, examples=3)


def leaves(value, key=""):
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from leaves(part, f"{key}.{name}" if key else name)
    else:
        yield key, value


@pytest.fixture(scope="module")
def perfect(store):
    return assess(KnownModel(), store, "test", FEW, seed=0, name="<perfect>")


def report(assessment, amounts=FEW, *others) -> str:
    return render([assessment, *others], amounts, seed=0)


def test_a_perfect_model_scores_perfectly(perfect):
    metrics = perfect.metrics
    reconstruction = metrics["reconstruction"]
    assert reconstruction["psnr_db"] == 100
    assert reconstruction["ssim"] == pytest.approx(1, abs=1e-3)  # of float32
    assert reconstruction["gain_over_copy_db"] > 50
    assert reconstruction["delta_psnr_db"] > 50
    # This model knows the picture from its codes alone, so all of the other scene comes along.
    assert reconstruction["leak_share"] == pytest.approx(1, abs=1e-4) or reconstruction["leak_share"] is None
    assert metrics["elements"]["ball"]["within_1px"] == metrics["elements"]["paddle"]["within_1px"] == 1


def test_the_copy_model_equals_the_copy_baseline(store):
    metrics = assess(copy_model(), store, "test", FEW, seed=0).metrics
    reconstruction = metrics["reconstruction"]
    for key in ("psnr_db", "psnr_mean_db", "ssim", "l1", "l2", "moving_psnr_db"):
        assert reconstruction[key] == reconstruction[f"copy_{key}"]
    assert reconstruction["gain_over_copy_db"] == reconstruction["delta_psnr_db"] == 0


def test_every_key_is_present_and_every_null_has_a_reason(perfect):
    found = dict(leaves(perfect.metrics))
    for key in keys_of(perfect.truth.game).keys() - {"timing"}:
        assert any(name == key or name.startswith(f"{key}.") for name in found), key
    absent = perfect.metrics["absent"]
    for key, value in found.items():
        if value is None:
            assert any(key == start or key.startswith(f"{start}.") for start in absent), key
    json.dumps(perfect.metrics, allow_nan=False)


def test_nan_becomes_null_with_a_reason():
    whole = complete(
        {"reconstruction": {"ssim": float("nan"), "l1": np.float32(0.5)}}, {"elements": "no detector"}, None
    )
    assert whole["reconstruction"]["ssim"] is None
    assert whole["reconstruction"]["l1"] == 0.5
    assert whole["absent"]["elements"] == "no detector"
    assert "reconstruction.ssim" in whole["absent"]


def test_the_same_seed_gives_the_same_metrics_and_report(store, perfect):
    again = assess(KnownModel(), store, "test", FEW, seed=0, name="<perfect>")
    assert again.metrics == perfect.metrics
    assert report(again) == report(perfect)


def test_metrics_state_how_many_transitions_were_measured(store):
    few = Amounts(transitions=7, ssim=3, ceiling_seeds=0, counterfactual=2, examples=1)
    metrics = assess(KnownModel(), store, "train", few, seed=0).metrics
    assert metrics["num_transitions"] == 7
    assert metrics["reconstruction"]["ssim_transitions"] == 3
    assert metrics["reconstruction"]["delta_transitions"] == 2


@pytest.fixture
def branched(store, monkeypatch):
    """The store with branches in which only the first control has an effect of its own."""

    def branches(store, episode):
        states, names = np.array([3, 9]), store.control_names(episode)
        frames = store.read(episode, states + 1, grayscale=False).transpose(0, 2, 3, 1)
        next_frames = np.repeat(frames[:, None], len(names), 1)
        next_frames[:, 0, :4, :4] = 255
        return Branches(states, next_frames)

    monkeypatch.setattr(FrameStore, "branches", branches)
    return store


def test_buttons_stand_beside_the_codes_and_are_inferred_once_for_all_models(branched, monkeypatch):
    asked = []

    def measured(*args):
        asked.append(args)
        return {"button_accuracy": 0.4, "equal_buttons": 0.8, "equal_buttons_other_control": 0.3}, {
            "button_accuracy": (0.3, 0.5)
        }

    monkeypatch.setattr(assess_module, "button_controllability", measured)
    first = assess(copy_model(), branched, "test", FEW, seed=0)
    second = assess(copy_model(), branched, "test", FEW, seed=0, first=first)
    assert asked == [(branched, "test", FEW.branches, FEW.buttons, 0)]
    for found in (first, second):
        assert found.metrics["controllability"]["button_accuracy"] == 0.4
        assert found.metrics["intervals"]["controllability.button_accuracy"] == [0.3, 0.5]
    page = report(first)
    assert (
        "Named correctly from buttons" in page
        and "30.0\xa0% to 50.0\xa0%" in page
        and "Equal buttons" in page
    )


def test_buttons_that_cannot_be_inferred_leave_out_their_numbers_alone(branched, monkeypatch):
    def measured(*_):
        raise UserError("too short for buttons")

    monkeypatch.setattr(assess_module, "button_controllability", measured)
    found = assess(copy_model(), branched, "test", FEW, seed=0)
    assert found.metrics["controllability"]["button_accuracy"] is None
    assert found.metrics["absent"]["controllability.button_accuracy"] == "too short for buttons"
    assert "from buttons" not in report(found)


def test_a_recording_with_branches_adds_a_bound_and_controllability(branched):
    found = assess(copy_model(), branched, "test", dataclasses.replace(FEW, buttons=0), seed=0)
    agreement, controllability = (found.metrics[key] for key in ("agreement", "controllability"))
    assert agreement["branch_identifiable"] == 0.25
    assert agreement["chance"] <= agreement["branch_ceiling"] < 1
    assert (controllability["chance"], controllability["upper_bound"]) == (0.25, 0.5)
    page = report(found)
    assert "Controllability</h2>" in page
    assert "Branch ceiling" in page
    assert "Supervised ceiling" not in page  # not asked for
    assert "not asked for" in found.metrics["absent"]["agreement.ceiling"]
    assert found.metrics["absent"]["controllability.equal_buttons"] == "not asked for"
    assert "from buttons" not in page


def test_the_report_loads_nothing_and_escapes_names(perfect):
    page = report(perfect)
    assert "<perfect>" not in page
    assert "&lt;perfect&gt;" in page
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    for address in addresses:
        assert address.startswith(
            ("data:image/png;base64,", "data:image/webp;base64,", "data:image/svg+xml;base64,", "#")
        ), address
    assert not re.search(r"url\((?!#)", page)
    assert "color-scheme: light dark" in page
    assert 'name="viewport"' in page


def test_a_report_without_examples_and_maps_is_possible(store):
    without_pictures = dataclasses.replace(FEW, examples=0, galleries=0, tsne=0)
    page = report(assess(copy_model(), store, "test", without_pictures, seed=0), without_pictures)
    for anchor in ("examples", "codes", "transfer", "maps"):
        assert f'id="{anchor}"' not in page


def test_ids_on_the_page_are_unique(perfect):
    ids = re.findall(r'\bid="([^"]*)"', report(perfect))
    assert len(ids) == len(set(ids))


def test_validation_metrics_of_a_perfect_model(store, capsys):
    frames, next_frames = Transitions(store, "train").read(slice(0, 78), True)
    numbers = validation_metrics(KnownModel(), frames, next_frames)
    assert numbers["psnr_db"] == 100
    assert numbers["ball_within_2px"] == numbers["paddle_within_2px"] == 1
    assert numbers["alarms"] == 0
    assert capsys.readouterr().err == ""


def test_validation_raises_alarms_on_a_collapsed_model(store, capsys):
    frames, next_frames = Transitions(store, "train").read(slice(0, 78), True)
    model = still_model(lambda frames, next_frames: np.zeros((len(frames), 4, 3), int))
    assert validation_metrics(model, frames, next_frames)["alarms"] == 2
    lines = capsys.readouterr().err.splitlines()
    assert any("ignores the codes" in line for line in lines)
    assert any("collapsed" in line for line in lines)


def test_validation_raises_no_alarm_before_quantization_starts(store, capsys):
    frames, next_frames = Transitions(store, "train").read(slice(0, 20), True)
    model = still_model(lambda frames, next_frames: np.zeros((len(frames), 4, 3), int))
    model.quantizing = False
    assert validation_metrics(model, frames, next_frames)["alarms"] == 0
    assert capsys.readouterr().err == ""


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        verb.check_folder(tmp_path)
    (tmp_path / verb.REPORT).write_text("an earlier report")
    verb.check_folder(tmp_path)


def test_evaluate_writes_metrics_and_report_and_compares_models(store, tmp_path, monkeypatch, capsys):
    models = {"good": KnownModel(), "idle": copy_model()}
    monkeypatch.setattr(verb, "load_model", lambda path, *_: models[path.name])
    out = tmp_path / "report"
    config = verb.EvaluateConfig(
        model=Path("good"), compare=(Path("idle"),), data=store.path, out=out, amounts=FEW
    )
    metrics = verb.evaluate(config)
    written = json.loads((out / verb.METRICS).read_text())
    assert written == json.loads(json.dumps(metrics))
    assert written["compare"]["idle"]["reconstruction"]["gain_over_copy_db"] == 0
    page = (out / verb.REPORT).read_text()
    assert 'id="comparison"' in page
    assert 'href="#comparison"' in page
    assert str(tmp_path) not in json.dumps(written)
    assert str(out / verb.REPORT) in capsys.readouterr().out


def test_a_model_for_another_frame_size_is_refused_in_one_line(store, tmp_path):
    from ghostpad.model.latent_action_model import LatentActionModel

    class Other(KnownModel):
        stride = 1

        def encode(self, frames, next_frames):
            raise UserError("frames have the shape (1, 1, 210, 160)")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LatentActionModel, "from_pretrained", lambda *args, **kwargs: Other())
        with pytest.raises(UserError, match=r"^other does not fit .*shape"):
            verb.evaluate(verb.EvaluateConfig(model=Path("other"), data=store.path, out=tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_random_codes_that_the_decoder_ignores_raise_the_alarm(store):
    rng = np.random.default_rng(0)
    model = still_model(lambda frames, next_frames: rng.integers(0, 16, (len(frames), 4, 3)))
    metrics = assess(model, store, "test", FEW, seed=0).metrics
    assert metrics["codebook"]["usage"] == metrics["codebook"]["active"] == 1
    assert metrics["codebook"]["perplexity"] > 15
    assert metrics["reconstruction"]["delta_psnr_db"] == 0
    assert metrics["reconstruction"]["leak_share"] == 0
    assert sum(clear is True for clear in metrics["events"]["clear"].values()) <= 1
    agreement = metrics["agreement"]
    assert agreement["accuracy"] < agreement["chance"] + 0.15
    assert any("ignores the codes" in line for line in alarms(metrics))


def test_codes_that_encode_the_paddle_score_a_clear_pattern(store):
    def encode(frames, next_frames):
        before, after = (breakout.detect(part)["paddle_x"].astype(int) for part in (frames, next_frames))
        codes = np.zeros((len(frames), 4, 3), int)
        codes[:, 3, 1] = 1 + np.sign(after - before)
        return codes

    metrics = assess(still_model(encode), store, "test", FEW, seed=0).metrics
    assert metrics["events"]["clear"]["paddle"]
    agreement = metrics["agreement"]
    assert agreement["accuracy"] > agreement["chance"] + 0.7 * (1 - agreement["chance"])


def test_the_film_strip_shows_consecutive_frames_of_one_episode(perfect):
    measured = perfect.measurements
    clip = choose_clip(perfect.truth.events, measured.transitions, measured.rows, 8, seed=0)
    assert len(clip) == 8
    assert (np.diff(measured.frame_index[clip]) == 1).all()
    assert len(np.unique(measured.episode_index[clip])) == 1
    _, true = measured.transitions.read(measured.rows[clip], grayscale=True)
    assert (predict(perfect, clip) == true).all()


def test_the_film_plays_consecutive_true_frames_beside_the_predicted_ones(perfect):
    found = film(perfect, seed=0)
    shown = Image.open(io.BytesIO(base64.b64decode(found["moving"].partition(",")[2])))
    height, width = (
        perfect.measurements.transitions.store.height,
        perfect.measurements.transitions.store.width,
    )
    assert shown.n_frames > 8
    for number in range(shown.n_frames):
        shown.seek(number)
        picture = np.asarray(shown.convert("RGB"))
        assert (picture[:, :width] == picture[:, -width:]).all()
        assert picture.shape == (height, 2 * width + width // 40, 3)
    page = report(perfect)
    assert page.index('id="film"') < page.index('id="criteria"')
    assert "prefers-reduced-motion: reduce" in page


def test_the_summary_agrees_with_the_metrics(perfect, store):
    game = perfect.truth.game
    good = {verdict.tone for verdict in verdicts(perfect.metrics, game) if "ball" in verdict.text.lower()}
    assert good == {"good"}
    idle = verdicts(assess(copy_model(), store, "test", FEW, seed=0).metrics, game)
    assert any(verdict.tone == "bad" and "copying the current frame" in verdict.text for verdict in idle)
    assert not any(verdict.text.startswith("The codes also carry") for verdict in idle)
    leaky = {**perfect.metrics, "reconstruction": {**perfect.metrics["reconstruction"], "leak_share": 0.34}}
    tones = {verdict.text.replace("\xa0", " "): verdict.tone for verdict in verdicts(leaky, game)}
    assert tones["The codes also carry static content: 34 % of it appears in other scenes."] == "bad"
    met = {criterion.name: criterion.met for criterion in criteria(perfect.metrics, game)}
    assert met["Reconstruction PSNR above 28 dB"] is True
    assert len(met) == 5


def test_a_report_on_an_unknown_game_mentions_no_elements(store, monkeypatch):
    monkeypatch.setattr("ghostpad.evaluation.assess.recognize_game", lambda transitions: None)
    page = report(assess(copy_model(), store, "test", FEW, seed=0))
    for anchor in ("elements", "events"):
        assert f'id="{anchor}"' not in page
    assert "No detector recognizes this game" in page
    body = page[page.index("<body>") : page.index('id="missing"')]
    assert not re.search(r"\b(ball|paddle|brick)", body)


def test_every_metric_of_an_element_has_a_title(perfect):
    for name, titles in element_metrics(perfect.truth.game).items():
        measured = {key for key in perfect.metrics["elements"][name] if not key.startswith("copy_")}
        assert measured - {"detected"} == titles.keys() - {"detected"}


def test_events_have_the_same_color_and_marker_on_every_plot_and_none_twice():
    styles = event_styles([f"event {i}" for i in range(30)])
    assert len(set(styles.values())) == 30


def test_pictures_survive_the_page_without_loss():
    picture = np.random.default_rng(0).integers(0, 256, (3, 5, 7), np.uint8)
    uri = data_uri(picture)
    decoded = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert (np.asarray(decoded).transpose(2, 0, 1) == picture).all()
    gray = Image.open(io.BytesIO(base64.b64decode(data_uri(picture[:1]).partition(",")[2])))
    assert (np.asarray(gray) == picture[0]).all()


def test_the_heat_map_over_a_grid_is_brightest_where_the_value_is_largest():
    values = np.zeros((2, 2))
    values[1, 0] = 3.0
    shown = over_grid(np.zeros((1, 8, 6), np.uint8), values).sum(-1)
    assert (shown[4:, :3] == shown.max()).all()
    assert (shown[:4] < shown.max()).all()
    assert not over_grid(np.zeros((1, 8, 6), np.uint8), np.zeros((2, 2))).any()


@pytest.mark.parametrize(
    ("value", "unit", "digits", "text"),
    [
        (None, "dB", None, DASH),
        (0.5, "%", None, "50.0 %"),
        (1.234, "dB", None, "1.23 dB"),
        (0.5, "", 1, "0.5"),
    ],
)
def test_numbers_are_printed_with_their_unit(value, unit, digits, text):
    assert quantity(value, unit, digits).replace("\xa0", " ") == text
