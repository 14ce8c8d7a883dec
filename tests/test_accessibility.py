"""Every page keeps the rules of axe-core, in light, in dark and on a phone, and needs no mouse."""

import functools
import http.server
import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from browser import PROGRAM, browser
from ghostpad import cli
from ghostpad.evaluation.assess import assess
from ghostpad.evaluation.config import Amounts
from ghostpad.evaluation.controls import ask
from ghostpad.evaluation.doctor.verdict import Verdict, to_html
from ghostpad.evaluation.report.render import render
from ghostpad.frames.pairs import Transitions
from known_models import KnownModel, copy_model
from play_server import BREAKOUT, served_world, serving
from small_world import saved_world, small_world

ROOT = Path(__file__).parent.parent
AXE, RUNTIME = (ROOT / "node_modules" / name for name in ("axe-core/axe.min.js", "onnxruntime-web"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PROGRAM is None or not AXE.is_file(), reason="needs Chromium and npm install axe-core"
    ),
]
LOOKS = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}
SITE_PAGES = ("index", "cli", "metrics", "how-it-works", "games", "api/model", "tutorials/breakout")
AUDIT = """axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations.flatMap(
    ({id, nodes}) => nodes.map(({target, any}) => [id, ...target, ...any.map(({message}) => message)])))"""
READY = "document.getElementById('notice')?.textContent.endsWith('to play')"
FEW = Amounts(ssim=16, ceiling_seeds=0, counterfactual=16, other_splits=16, examples=3)
TAB_STOPS = """[...document.querySelectorAll("a[href], button, input, select, summary, [tabindex='0']")]
    .filter((each) => each.checkVisibility({visibilityProperty: true}) && !each.disabled)"""
FOCUS = """(({outlineStyle, boxShadow}, each) => {
    waiting.delete(each);
    return each == document.body || outlineStyle != "none" || boxShadow != "none" || each.outerHTML;
})(getComputedStyle(document.activeElement), document.activeElement)"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def report(store, tmp_path_factory):
    """A report with every section that small data allows, as a file."""
    models = [assess(model, store, "test", FEW, seed=0) for model in (KnownModel(), copy_model())]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(models, FEW, seed=0))
    return path.as_uri()


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    path = tmp_path_factory.mktemp("doctor") / "doctor.html"
    found = [
        Verdict(status, status, "found", 1.0, "1 %", "at most 2 %", "--gain 2")
        for status in ("ok", "warning", "problem", "unknown")
    ]
    path.write_text(to_html(found, "data", None))
    return path.as_uri()


@pytest.fixture(scope="module")
def questions(store, tmp_path_factory):
    """The page that asks for labels."""
    path = tmp_path_factory.mktemp("questions") / ask.PAGE
    path.write_text(ask._page(Transitions(store, "train"), np.arange(3), None))
    return path.as_uri()


@pytest.fixture(scope="module")
def play(store):
    with serving(served_world(small_world(store), store)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def offline(store, tmp_path_factory):
    if not RUNTIME.is_dir():
        pytest.skip("needs npm install onnxruntime-web")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("offline")
    BREAKOUT.write(saved_world(small_world(store), store, folder / "world"))
    options = ["--world", folder / "world", "--out", folder / "world.html", "--runtime", RUNTIME]
    assert cli.main(["export", "--format", "html", *map(str, options)]) == 0
    return (folder / "world.html").as_uri()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Address of the documentation, which needs a server for its search."""
    if importlib.util.find_spec("material") is None:
        pytest.skip("needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder]
    subprocess.run(build, check=True, cwd=ROOT)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def opened(tab, address, look="light"):
    """A tab that shows a page; those that play are ready."""
    page = tab()
    phone = look == "phone"
    page.size(390 if phone else 1280, 844 if phone else 800, **LOOKS[look])
    # Else the documentation keeps the look that it had in an earlier tab.
    origin = "/".join(address.split("/")[:3])
    page.call("Storage.clearDataForOrigin", origin=origin, storageTypes="local_storage")
    page.open(address)
    page.until("document.readyState == 'complete' && location.href != 'about:blank'", 30)
    page.until(f"!document.getElementById('notice') || {READY}", 60)
    return page


def violations(page):
    page.run(AXE.read_text() + ";0")
    return page.run(AUDIT)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", ["report", "verdicts", "questions", "play", "offline"])
def test_a_page_keeps_the_rules_of_axe(tab, request, name, look):
    page = opened(tab, request.getfixturevalue(name), look)
    assert violations(page) == []
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    page.close()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", SITE_PAGES)
def test_a_page_of_the_documentation_keeps_the_rules_of_axe(tab, site, name, look):
    page = opened(tab, f"{site}/{name}.html", look)
    assert violations(page) == []
    page.close()


@pytest.mark.parametrize("name", ["report", "verdicts", "questions", "play", "offline"])
def test_the_tab_key_reaches_everything_and_shows_where_it_is(tab, request, name):
    page = opened(tab, request.getfixturevalue(name))
    stops = page.run(f"{TAB_STOPS}.length")
    page.run(f"window.waiting = new Set({TAB_STOPS}); document.activeElement.blur()")
    for _ in range(stops + 5):
        page.key("Tab", True)
        page.key("Tab", False)
        assert page.run(FOCUS) is True
    assert page.run("[...waiting].map((each) => each.outerHTML)") == []
    page.close()
