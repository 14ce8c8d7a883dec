"""Labels and models go to the Hugging Face hub with their card; nothing is sent in a dry run."""

import pytest

from ghostpad.errors import UserError
from ghostpad.labels.extract import ExtractConfig, extract
from ghostpad.labels.push import PushConfig, push
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
    assert hub.files["README.md"].startswith(b"---\npretty_name: Latent actions")
    assert any(name.startswith("data/train") for name in hub.files)


def test_a_model_is_uploaded_as_safetensors_with_a_card(labels, hub):
    push(PushConfig("user/model", model=labels.parent / "best.pt"))
    assert hub.repository["repo_type"] == "model"
    assert set(hub.files) == {"README.md", "config.json", "model.safetensors"}
    assert b"library_name: ghostpad" in hub.files["README.md"]


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
