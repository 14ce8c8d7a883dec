"""From a model and a store to `metrics.json` and `report.html`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ghostpad.errors import UserError
from ghostpad.evaluation.assess import Amounts, assess
from ghostpad.evaluation.checks import light_checks
from ghostpad.evaluation.report import report
from ghostpad.evaluation.report.summary import alarms, criteria, verdicts
from ghostpad.evaluation.schema import KEYS, complete
from ghostpad.frames.pairs import Transitions
from ghostpad.games.breakout import detector as breakout
from known_models import KnownModel, copy_model, still_model

FEW = Amounts(ssim=16, counterfactual=16, other_splits=16, examples=3)


def leaves(value, key=""):
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from leaves(part, f"{key}.{name}" if key else name)
    else:
        yield key, value


@pytest.fixture(scope="module")
def perfect(store):
    return assess(KnownModel(), store, "test", FEW, seed=0, name="<perfect>")


def test_perfect_model_end_to_end(perfect):
    metrics = perfect.metrics
    reconstruction = metrics["reconstruction"]
    assert reconstruction["psnr_db"] == 100
    assert reconstruction["ssim"] == pytest.approx(1, abs=1e-3)  # of float32
    assert reconstruction["gain_over_copy_db"] > 50
    assert reconstruction["delta_psnr_db"] > 50
    # This model knows the picture from its codes alone, so all of the other scene comes along.
    assert reconstruction["leak_share"] == pytest.approx(1, abs=1e-4) or reconstruction["leak_share"] is None
    assert metrics["elements"]["ball"]["within_1px"] == metrics["elements"]["paddle"]["within_1px"] == 1


def test_copy_model_end_to_end(store):
    metrics = assess(copy_model(), store, "test", FEW, seed=0).metrics
    reconstruction = metrics["reconstruction"]
    for key in ("psnr_db", "psnr_mean_db", "ssim", "l1", "l2", "moving_psnr_db"):
        assert reconstruction[key] == reconstruction[f"copy_{key}"]
    assert reconstruction["gain_over_copy_db"] == reconstruction["delta_psnr_db"] == 0


def test_every_key_is_there_and_every_null_has_a_reason(perfect):
    found = dict(leaves(perfect.metrics))
    for key in KEYS.keys() - {"timing"}:
        assert any(name == key or name.startswith(f"{key}.") for name in found), key
    absent = perfect.metrics["absent"]
    for key, value in found.items():
        if value is None:
            assert any(key == start or key.startswith(f"{start}.") for start in absent), key
    json.dumps(perfect.metrics, allow_nan=False)


def test_numbers_that_are_not_numbers_become_null_with_a_reason():
    whole = complete(
        {"reconstruction": {"ssim": float("nan"), "l1": np.float32(0.5)}}, {"elements": "no detector"}
    )
    assert whole["reconstruction"]["ssim"] is None
    assert whole["reconstruction"]["l1"] == 0.5
    assert whole["absent"]["elements"] == "no detector"
    assert "reconstruction.ssim" in whole["absent"]


def test_same_seed_same_metrics(store, perfect):
    again = assess(KnownModel(), store, "test", FEW, seed=0, name="<perfect>")
    assert again.metrics == perfect.metrics
    assert report.render([again]) == report.render([perfect])


def test_fewer_transitions_are_stated(store):
    few = Amounts(transitions=7, ssim=3, counterfactual=2, examples=1)
    metrics = assess(KnownModel(), store, "train", few, seed=0).metrics
    assert metrics["num_transitions"] == 7
    assert metrics["reconstruction"]["ssim_transitions"] == 3
    assert metrics["reconstruction"]["delta_transitions"] == 2


def test_report_is_one_file_without_network_and_escaped(perfect):
    page = report.render([perfect])
    assert "<perfect>" not in page
    assert "&lt;perfect&gt;" in page
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    for address in addresses:
        assert address.startswith(("data:image/png;base64,", "#")), address
    assert not re.search(r"url\((?!#)", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_ids_on_the_page_are_unique(perfect):
    ids = re.findall(r'\bid="([^"]*)"', report.render([perfect]))
    assert len(ids) == len(set(ids))


def test_light_checks(store, capsys):
    frames, next_frames = Transitions(store, "train").read(slice(0, 78), True)
    numbers = light_checks(KnownModel(), frames, next_frames)
    assert numbers["psnr_db"] == 100
    assert numbers["ball_within_2px"] == numbers["paddle_within_2px"] == 1
    assert numbers["alarms"] == 0
    assert capsys.readouterr().err == ""


def test_light_checks_sound_the_alarm(store, capsys):
    frames, next_frames = Transitions(store, "train").read(slice(0, 78), True)
    model = still_model(lambda frames, next_frames: np.zeros((len(frames), 4, 3), int))
    assert light_checks(model, frames, next_frames)["alarms"] == 2
    lines = capsys.readouterr().err.splitlines()
    assert any("ignores the codes" in line for line in lines)
    assert any("collapsed" in line for line in lines)


def test_no_alarm_before_a_training_quantizes(store, capsys):
    frames, next_frames = Transitions(store, "train").read(slice(0, 20), True)
    model = still_model(lambda frames, next_frames: np.zeros((len(frames), 4, 3), int))
    model.quantizing = False
    assert light_checks(model, frames, next_frames)["alarms"] == 0
    assert capsys.readouterr().err == ""


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="something else"):
        report.check_folder(tmp_path)
    (tmp_path / report.REPORT).write_text("an earlier report")
    report.check_folder(tmp_path)


def test_evaluate_writes_both_files_and_compares(store, tmp_path, monkeypatch, capsys):
    models = {"good": KnownModel(), "idle": copy_model()}
    monkeypatch.setattr(report, "_load", lambda path, store, config: models[path.name])
    out = tmp_path / "report"
    config = report.EvaluateConfig(
        model=Path("good"), compare=(Path("idle"),), data=store.path, out=out, amounts=FEW
    )
    metrics = report.evaluate(config)
    written = json.loads((out / report.METRICS).read_text())
    assert written == json.loads(json.dumps(metrics))
    assert written["compare"]["idle"]["reconstruction"]["gain_over_copy_db"] == 0
    page = (out / report.REPORT).read_text()
    assert 'id="compare"' in page
    assert 'href="#compare"' in page
    assert str(tmp_path) not in json.dumps(written)
    assert str(out / report.REPORT) in capsys.readouterr().out


def test_a_model_of_another_size_is_refused_in_one_line(store, tmp_path):
    from ghostpad.model.latent_action_model import LatentActionModel

    class Other(KnownModel):
        stride = 1

        def encode(self, frames, next_frames):
            raise UserError("frames have the shape (1, 1, 210, 160)")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LatentActionModel, "from_pretrained", lambda *args, **kwargs: Other())
        with pytest.raises(UserError, match=r"^other does not fit .*shape"):
            report.evaluate(report.EvaluateConfig(model=Path("other"), data=store.path, out=tmp_path / "r"))
    assert not (tmp_path / "r").exists()


def test_random_codes_that_nobody_heeds(store):
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


def test_codes_that_tell_the_paddle_are_found(store):
    def encode(frames, next_frames):
        before, after = (breakout.detect(part)["paddle_x"].astype(int) for part in (frames, next_frames))
        codes = np.zeros((len(frames), 4, 3), int)
        codes[:, 3, 1] = 1 + np.sign(after - before)
        return codes

    metrics = assess(still_model(encode), store, "test", FEW, seed=0).metrics
    assert metrics["events"]["clear"]["paddle"]
    agreement = metrics["agreement"]
    assert agreement["share_of_ceiling"] > 0.7


def test_film_strip_is_of_neighbours_in_one_episode(perfect):
    measured = perfect.measured
    assert len(perfect.film) == 8
    assert (np.diff(measured.frame_index[perfect.film]) == 1).all()
    assert len(np.unique(measured.episode_index[perfect.film])) == 1
    _, true = measured.transitions.read(measured.rows[perfect.film], grayscale=True)
    assert (measured.predicted(perfect.film) == true).all()


def test_summary_says_what_the_numbers_say(perfect, store):
    good = {verdict.tone for verdict in verdicts(perfect.metrics) if "ball" in verdict.text.lower()}
    assert good == {"good"}
    idle = verdicts(assess(copy_model(), store, "test", FEW, seed=0).metrics)
    assert any(verdict.tone == "bad" and "repeating the current frame" in verdict.text for verdict in idle)
    assert not any(verdict.text.startswith("The codes also carry") for verdict in idle)
    leaky = {**perfect.metrics, "reconstruction": {**perfect.metrics["reconstruction"], "leak_share": 0.34}}
    told = {verdict.text: verdict.tone for verdict in verdicts(leaky)}
    assert told["The codes also carry what stands still: 34 % of another scene comes along."] == "bad"
    met = {criterion.name: criterion.met for criterion in criteria(perfect.metrics)}
    assert met["Reconstruction PSNR > 28 dB"] is True
    assert len(met) == 5
