"""Labels and models go to the Hugging Face hub with their card; nothing is sent in a dry run."""

import json

import pytest
from huggingface_hub import DatasetCard, ModelCard

from ghostpad.errors import UserError
from ghostpad.evaluation.schema import COMMON_KEYS
from ghostpad.labels.cards import METRICS
from ghostpad.labels.export import ExportConfig, export
from ghostpad.labels.extract import ExtractConfig, extract
from ghostpad.labels.push import PushConfig, push
from ghostpad.model.latent_action_model import LatentActionModel
from ghostpad.model.pretrained import find_model
from small_model import saved, small_model


@pytest.fixture(scope="module")
def labels(store, store_path, tmp_path_factory):
    home = tmp_path_factory.mktemp("push")
    path = saved(small_model(store), home / "best.pt")
    extract(ExtractConfig(path, store_path, home / "labels", shard_size=60, runtime="torch"))
    return home / "labels"


class Hub:
    """Stands in for the hub, and keeps what was uploaded."""

    def __init__(self):
        self.repository, self.files = {}, {}

    def __call__(self, **kwargs):
        return self

    def create_repo(self, name, **options):
        self.repository = {"name": name, **options}
        return type("Url", (str,), {"repo_id": name})(f"https://huggingface.co/{name}")

    def upload_folder(self, repo_id, repo_type, folder_path):
        assert (repo_id, repo_type) == (self.repository["name"], self.repository["repo_type"])
        files = [path for path in folder_path.rglob("*") if path.is_file()]
        self.files = {str(path.relative_to(folder_path)): path.read_bytes() for path in files}


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    return hub


def test_a_dry_run_lists_the_files_and_sends_nothing(labels, hub, capsys):
    push(PushConfig("user/labels", labels=labels, dry_run=True))
    shown = capsys.readouterr().out
    assert "README.md" in shown and "data/train-000000.parquet" in shown
    assert "exported to" not in shown  # a folder that no longer exists
    assert "to the dataset user/labels" in shown and "nothing was uploaded" in shown
    assert not hub.repository


def test_labels_are_uploaded_as_a_data_set_with_their_card(labels, hub):
    push(PushConfig("user/labels", labels=labels, private=True))
    assert hub.repository == {
        "name": "user/labels",
        "repo_type": "dataset",
        "private": True,
        "exist_ok": True,
    }
    card = DatasetCard(hub.files["README.md"].decode())
    assert card.data.pretty_name == "Latent actions" and card.data.license == "unknown"
    assert card.data.library_name == "ghostpad" and card.data.size_categories == "n<1K"
    (files,) = (each["data_files"] for each in card.data.configs)
    assert {each["split"]: each["path"] for each in files}["test"] == "data/test-*.parquet"
    assert any(name.startswith("data/train") for name in hub.files)


def test_a_model_is_uploaded_as_safetensors_with_a_card(labels, hub):
    push(PushConfig("user/model", model=labels.parent / "best.pt"))
    assert hub.repository["repo_type"] == "model"
    assert set(hub.files) == {"README.md", "config.json", "model.safetensors"}
    assert ModelCard(hub.files["README.md"].decode()).data.eval_results is None


def test_a_model_card_gives_the_metrics_of_its_own_model(labels, hub, tmp_path, capsys):
    checkpoint = labels.parent / "best.pt"
    metrics = json.loads((find_model("breakout-sharp").parent / "metrics.json").read_text())
    metrics["model_hash"] = LatentActionModel.from_pretrained(checkpoint).model_hash
    metrics["reconstruction"]["delta_psnr_db"] = None
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    push(PushConfig("user/model", model=checkpoint, report=tmp_path, license="mit"))
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data.license == "mit" and card.data.library_name == "ghostpad"
    assert {"latent-actions", "world-models"} <= set(card.data.tags)
    results = {result.metric_type: result for result in card.data.eval_results}
    assert results["reconstruction.psnr_db"].metric_value == metrics["reconstruction"]["psnr_db"]
    assert results["codebook.usage"].dataset_name == "breakout, 1,725 transitions"
    assert results["codebook.usage"].dataset_revision == metrics["data_fingerprint"]
    assert "reconstruction.delta_psnr_db" not in results  # null in metrics.json: not measured
    assert "| SSIM | 0.9999 |" in card.text
    assert "no metrics" not in capsys.readouterr().out
    metrics["model_hash"] = "of another model"
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    push(PushConfig("user/model", model=checkpoint, report=tmp_path))
    assert ModelCard(hub.files["README.md"].decode()).data.eval_results is None
    assert "no metrics of this model" in capsys.readouterr().out
    (tmp_path / "metrics.json").write_text("[")
    push(PushConfig("user/model", model=checkpoint, report=tmp_path))
    assert "no metrics of this model" in capsys.readouterr().out


def test_a_shipped_model_brings_its_metrics(tmp_path):
    export(ExportConfig(model="breakout-sharp", out=tmp_path / "out"))
    card = ModelCard.load(tmp_path / "out/README.md")
    assert "reconstruction.ssim" in {result.metric_type for result in card.data.eval_results}


def test_metrics_on_the_card_are_those_of_the_schema():
    assert set(METRICS) <= set(COMMON_KEYS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PushConfig("user/x"), "give either --model or --labels"),
        (PushConfig("a/b/c", model="tiny"), "a/b/c: not a valid repository name"),
    ],
)
def test_mistakes_are_one_line(config, message):
    with pytest.raises(UserError, match=message) as caught:
        push(config)
    assert "\n" not in str(caught.value)


def test_a_hub_that_refuses_is_one_line(labels, monkeypatch):
    from huggingface_hub.errors import LocalTokenNotFoundError

    for error, message in (
        (LocalTokenNotFoundError("no token"), "hf auth login"),
        (OSError("no route"), "no route"),
    ):

        class Refusing(Hub):
            def create_repo(self, name, _error=error, **options):
                raise _error

        monkeypatch.setattr("huggingface_hub.HfApi", Refusing())
        with pytest.raises(UserError, match=message):
            push(PushConfig("user/labels", labels=labels))
