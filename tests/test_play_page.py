"""The page in a real browser: it plays."""

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from browser import PROGRAM, browser
from ghostpad.games.breakout.detector import detect
from ghostpad.model.pretrained import shipped_models
from ghostpad.play.server import PlayConfig, load_world
from play_server import served_world, serving
from small_world import small_world

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")

PIXELS = """(canvas => {{
    const copy = new OffscreenCanvas(160, 210).getContext('2d', {{ willReadFrequently: true }});
    copy.drawImage(canvas, 0, 0);
    return Array.from(copy.getImageData(0, 0, 160, 210).data);
}})(document.querySelector('{} canvas'))"""
BUTTON = "[...document.querySelectorAll('#buttons button')].findIndex(b => b.classList.contains('down'))"
FRAME = "Number(document.getElementById('count').textContent)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def world(store):
    return small_world(store)


@pytest.fixture
def page(tab, world, store):
    with serving(served_world(world, store, fps=20.0)) as port:
        page = opened(tab, port)
        yield page
        page.close()


def opened(tab, port):
    page = tab()
    page.open(f"http://127.0.0.1:{port}/")
    page.until("document.getElementById('notice')?.textContent == 'Press a key to play'", 20)
    return page


def picture(page, which="#predicted"):
    return page.run(PIXELS.format(which))


def frames_go_by(page):
    before = page.run(FRAME) or 0
    page.until(f"{FRAME} > {before}")


def test_it_waits_and_then_plays_with_nothing_to_complain_about(page, store):
    page.until(f"{PIXELS.format('#predicted')}.some(v => v > 0 && v < 255)")
    recorded = store.read(0, [0], grayscale=False)[0].transpose(1, 2, 0)
    for which in ("#predicted", "#real"):
        shown = picture(page, which)
        assert [shown[i : i + 3] for i in range(0, len(shown), 4)] == recorded.reshape(-1, 3).tolist()
    first = picture(page)
    page.key("KeyP", True)
    page.key("KeyP", False)
    frames_go_by(page)
    frames_go_by(page)
    assert picture(page) != first
    assert page.run("document.getElementById('veil').hidden")
    assert page.run("Number(document.getElementById('rate').textContent)") > 0
    assert page.complaints == []


@pytest.mark.parametrize(("key", "button"), [("ArrowRight", 1), ("KeyA", 2), ("Digit2", 2), ("ArrowLeft", 2)])
def test_keys_hold_buttons(page, key, button):
    page.key(key, True)
    page.until(f"{BUTTON} == {button}")
    frames_go_by(page)
    assert page.run(BUTTON) == button
    page.key(key, False)
    page.until(f"{BUTTON} == 0")
    page.until("document.getElementById('delay').textContent.endsWith(' ms')")


def test_the_newest_of_two_opposite_keys_counts_until_it_is_released(page):
    page.key("ArrowRight", True)
    page.until(f"{BUTTON} == 1")
    page.key("ArrowLeft", True)
    page.until(f"{BUTTON} == 2")
    page.key("ArrowLeft", False)
    page.until(f"{BUTTON} == 1")
    page.run("window.dispatchEvent(new Event('blur'))")
    page.until(f"{BUTTON} == 0")


def test_fingers_hold_buttons(page):
    page.size(390, 844, phone=True)
    page.touch("#pad button:last-child")
    page.until(f"{BUTTON} == 1")
    page.touch(None)
    page.until(f"{BUTTON} == 0")
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_pause_step_and_start_over(page):
    page.key("ArrowRight", True)
    page.until(f"{BUTTON} == 1")
    page.key("ArrowRight", False)
    page.run("document.getElementById('pause').click()")
    time.sleep(0.4)
    count = page.run(FRAME)
    time.sleep(0.4)
    assert page.run(FRAME) == count
    page.key("KeyN", True)
    page.until(f"{FRAME} == {count + 1}")
    page.key("KeyN", False)
    page.run("document.getElementById('episode').selectedIndex = 2")
    page.run("document.getElementById('episode').dispatchEvent(new Event('change'))")
    page.until(f"{FRAME} == {count + 2}")
    assert page.run("document.getElementById('frame').max") == "39"
    assert page.run(BUTTON) == -1


def test_a_thumbnail_starts_the_game_from_its_frame(page, store):
    page.until("document.querySelectorAll('#starts img').length == 24")
    page.until("document.querySelector('#starts img').naturalWidth == 160")
    chosen = page.run(
        "document.querySelectorAll('#starts button')[3].click(), document.getElementById('frame').value"
    )
    page.until(f"{FRAME} > 1")
    assert chosen == "5"
    recorded = store.read(0, [5], grayscale=False)[0].transpose(1, 2, 0)
    shown = picture(page)
    assert [shown[i : i + 3] for i in range(0, len(shown), 4)] == recorded.reshape(-1, 3).tolist()


def test_the_real_game_can_be_laid_over_the_imagined_one(page):
    overlay = "document.getElementById('overlay')"
    assert page.run(f"{overlay}.hidden")
    page.run("document.getElementById('share').value = 40")
    page.run("document.getElementById('share').dispatchEvent(new Event('input'))")
    assert page.run(f"[{overlay}.hidden, {overlay}.style.opacity]") == [False, "0.4"]
    page.key("KeyN", True)
    page.until(f"{FRAME} > 1")
    copied = page.run(PIXELS.format("#real").replace("'#real canvas'", "'#overlay'"))
    assert copied == picture(page, "#real")


def test_the_page_says_where_the_pixels_come_from(page):
    said = page.run("document.getElementById('explanation').textContent")
    assert said.startswith("Networks: where each tracked object goes") and "Code: tracks the objects" in said


def test_the_page_says_when_the_server_is_lost_or_full(tab, world, store):
    with serving(served_world(world, store, max_players=1)) as port:
        first, second = opened(tab, port), tab()
        second.open(f"http://127.0.0.1:{port}/")
        second.until("document.getElementById('notice')?.textContent.startsWith('All seats are taken')")
        assert second.run("document.querySelector('.poster').naturalWidth") == 160  # no black box
        first.close()
        second.until("document.getElementById('notice').textContent == 'Press a key to play'", 20)
    second.until("document.getElementById('notice').textContent.startsWith('The connection is lost')")
    second.close()


@pytest.mark.slow
@pytest.mark.skipif("breakout-world" not in shipped_models("world"), reason="no world is shipped yet")
@pytest.mark.parametrize(("key", "sign"), [("ArrowRight", 1), ("ArrowLeft", -1)])
def test_the_paddle_goes_where_the_keys_say(tab, tmp_path, key, sign):
    """In the shipped world; `tmp_path` keeps a picture of it."""
    served = load_world(PlayConfig(world=Path("breakout-world"), fps=15))
    with serving(served) as port:
        page = opened(tab, port)
        page.until(f"{PIXELS.format('#predicted')}.some(v => v > 0 && v < 255)")
        before = paddle(page)
        page.key(key, True)
        page.until(f"{FRAME} > 5")
        after = paddle(page)
        page.screenshot(tmp_path / f"{key}.png")
        page.key(key, False)
        assert page.complaints == []
        page.close()
    assert sign * (after - before) > 8


def paddle(page):
    """Where the paddle is in the predicted picture."""
    shown = np.array(picture(page), np.uint8).reshape(1, 210, 160, 4)[..., :3]
    return int(detect(shown.transpose(0, 3, 1, 2))["paddle_x"][0])
