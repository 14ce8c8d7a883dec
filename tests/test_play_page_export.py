"""A world as one page: its networks agree with the world, and Chromium plays it without a server."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("websockets")

import onnxruntime

from browser import PROGRAM, browser
from ghostpad import cli
from ghostpad.games.breakout.detector import detect
from ghostpad.model import LatentActionModel
from ghostpad.model.pretrained import shipped_models
from ghostpad.play.networks import draw_graph, graphs
from ghostpad.play.page_export import RUNTIME
from ghostpad.play.starts import starts_of_world
from ghostpad.world.decoding import decode
from ghostpad.world.world_model import WorldModel
from play_server import BREAKOUT
from small_model import small_model
from small_world import saved_world, small_world

NPM = Path(os.environ.get("ONNXRUNTIME_WEB") or Path(__file__).parent.parent / RUNTIME)
in_chromium = pytest.mark.skipif(
    PROGRAM is None or not NPM.is_dir(), reason="needs Chromium and npm install onnxruntime-web"
)
READY = "document.getElementById('notice')?.textContent == 'Press a key to play'"
COUNT = "Number(document.getElementById('count').textContent)"
PIXELS = """(canvas => {
    const copy = new OffscreenCanvas(160, 210).getContext('2d', { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return Array.from(copy.getImageData(0, 0, 160, 210).data);
})(document.getElementById('game'))"""


class Session:
    """A graph in ONNX Runtime for Python."""

    def __init__(self, graph):
        self._names = list(graph.inputs)
        self._session = onnxruntime.InferenceSession(graph.onnx(), providers=["CPUExecutionProvider"])

    def __call__(self, *inputs):
        feeds = {name: np.asarray(each) for name, each in zip(self._names, inputs, strict=True)}
        return torch.from_numpy(self._session.run(None, feeds)[0])


class Exported:
    """The plain step of an exported world, as the page takes it."""

    def __init__(self, world):
        self._networks = {name: Session(graph) for name, graph in graphs(world).items()}
        self.mask_code = world.dynamics.mask_code

    def logits(self, features, buttons, given=None):
        given = torch.full((1, 14, 10), self.mask_code) if given is None else given
        return self._networks["logits"](features, buttons.int(), given.int())

    def step(self, frames, button):
        codes = decode(self, self._networks["history"](frames), torch.tensor([button]))
        drawn = self._networks["draw"](frames[:, -1], codes.int())
        return np.concatenate([frames[:, 1:], drawn[:, None]], 1), codes


def test_the_graphs_play_the_same_frames_as_the_world(store):
    world = small_world(store, objects=False)
    state = world.start(store.read(1, range(19, 21), False))
    exported, frames = Exported(world), state.frames
    for button in (0, 1, 1, 2):
        state, codes = world.step(state, button)
        frames, exported_codes = exported.step(frames, button)
        assert torch.equal(codes, exported_codes)
        assert np.abs(frames.astype(int) - state.frames).max() <= 1  # rounding


@pytest.mark.parametrize("kind", ["motion", "palette"])
def test_the_graph_draws_as_the_model(store, kind):
    if kind == "palette":
        model = LatentActionModel.from_pretrained("breakout-sharp")
    else:
        model = small_model(store, grayscale=False, motion="on")
    codes = torch.randint(0, model.codebook_size, (1, *model.grid), dtype=torch.int32)
    frame = torch.from_numpy(store.read(1, [20], model.config.frames.grayscale))
    drawn = Session(draw_graph(model, frame, codes))(frame, codes)
    expected = (model.decode(frame, codes.long()) * 255).round()
    assert (drawn - expected).abs().max() <= (0 if kind == "palette" else 1)


@pytest.fixture(scope="module")
def folders(store, tmp_path_factory):
    """Of a plain world in grayscale, and of an object-centric one in colour."""
    worlds = {"plain": small_world(store, grayscale=True, objects=False), "objects": small_world(store)}
    home = tmp_path_factory.mktemp("worlds")
    for name, world in worlds.items():
        BREAKOUT.write(saved_world(world, store, home / name))
    return home


def export(*options):
    return cli.main(["export", "--format", "html", *map(str, options)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "w.html"], "give --world"),
        (["--world", "small", "--model", "small", "--out", "w.html"], "no --model"),
        (["--world", "small"], "such as world.html"),
        (["--world", "small", "--out", "w.html"], "npm install onnxruntime-web"),
        (["--world", "small", "--out", "w.html", "--runtime", "elsewhere"], "elsewhere: no onnxruntime-web"),
        (["--world", "small", "--out", "there.html"], "there.html: already exists"),
    ],
)
def test_a_page_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.html").write_text("mine")
    assert export(*options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"]


def test_options_of_a_page_are_refused_for_other_formats(tmp_path, capsys):
    options = ["--model", "breakout-sharp", "--assets", "--out", str(tmp_path / "out")]
    assert cli.main(["export", *options]) == 2
    assert "are for --format html" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


def opened(tab, path):
    page = tab()
    page.open(path.as_uri())
    page.until(READY, 60)
    return page


def played(page, start, key, at_least):
    """Number and pixels (H, W, 3) of a frame, after a start, under a key that is held all the time."""
    page.key(key, True)
    page.until("document.getElementById('pause').textContent == 'Pause'")
    page.run(f"document.querySelectorAll('#starts button')[{start}].click()")
    page.until(f"{COUNT} >= {at_least}", 60)
    count, pixels = page.run(f"[{COUNT}, {PIXELS}]")
    page.key(key, False)
    return count, np.array(pixels, np.uint8).reshape(210, 160, 4)[..., :3]


def rolled_out(world, start, button, num):
    """The picture of a world after frames under a button."""
    state = world.start(starts_of_world(world).read(0, start))
    for _ in range(num):
        state, _ = world.step(state, button)
    return state.pictures[0]


@in_chromium
@pytest.mark.parametrize("name", ["plain", "objects"])
def test_a_page_from_a_file_plays_the_frames_of_the_world(tab, folders, tmp_path, capsys, name):
    assets = ["--assets"] if name == "objects" else []
    assert export("--world", folders / name, "--out", tmp_path / "w.html", "--runtime", NPM, *assets) == 0
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) / 1e6
    assert f"w.html: {size:.1f} MB" in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == 1 + len(assets)
    page = opened(tab, tmp_path / "w.html")
    world, shown = WorldModel.from_pretrained(folders / name), {}
    for key, button in (("ArrowRight", 1), ("ArrowLeft", 2)):
        count, shown[key] = played(page, 2, key, 2)
        expected = rolled_out(world, 2, button, count)
        # The page rounds as the world does, but for the last bit of a float.
        assert np.abs(shown[key].astype(int) - expected).mean() < 0.1
    assert (shown["ArrowRight"] != shown["ArrowLeft"]).any()
    page.screenshot(tmp_path / "page.png")
    check_that_it_pauses_steps_and_starts_over(page)
    assert page.complaints == []
    page.close()


def check_that_it_pauses_steps_and_starts_over(page):
    page.key("KeyP", True)
    page.key("KeyP", False)
    page.run("document.getElementById('reset').click()")
    assert page.run(COUNT) == 0
    first = page.run(PIXELS)
    for count in (1, 2):
        page.run("document.getElementById('step').click()")
        page.until(f"{COUNT} == {count}", 20)
        assert page.run(PIXELS) != first
    page.run("document.getElementById('reset').click()")
    assert page.run(COUNT) == 0
    assert page.run(PIXELS) == first
    page.size(390, 844, phone=True)
    page.touch("#pad button:last-child")
    page.until(f"{COUNT} > 0", 20)
    page.touch(None)
    assert page.run("document.documentElement.scrollWidth") <= 390


@in_chromium
@pytest.mark.slow
@pytest.mark.skipif("breakout-world" not in shipped_models("world"), reason="no world is shipped yet")
def test_the_page_of_the_shipped_world_plays_its_frames_to_the_bit(tab, tmp_path, capsys):
    out = tmp_path / "breakout-world.html"
    assert export("--world", "breakout-world", "--out", out, "--runtime", NPM) == 0
    page = opened(tab, out)
    world, places = WorldModel.from_pretrained("breakout-world"), {}
    for key, button in (("Digit0", 0), ("Digit2", 2)):
        count, shown = played(page, 9, key, 30)
        assert np.array_equal(shown, rolled_out(world, 9, button, count))
        places[key] = detect(shown.transpose(2, 0, 1)[None])["paddle_x"][0]
    assert places["Digit0"] - places["Digit2"] > 20
    rate = page.run("document.getElementById('rate').textContent")
    screenshot = page.screenshot(tmp_path / "page.png")
    with capsys.disabled():
        print(f"\n{out.stat().st_size / 1e6:.1f} MB, {rate} frames a second, {screenshot}")
    assert page.complaints == []
    page.close()
