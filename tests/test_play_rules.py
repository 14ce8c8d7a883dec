"""Who may speak to the server, and what is a message."""

import http.client
import io
import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from websockets.exceptions import InvalidStatus

from ghostpad.play import app
from ghostpad.play.app import OriginCheck, same_origin
from ghostpad.play.messages import MalformedMessage, Press, Seen, Temperature, read_message
from play_server import Player, served_world, serving
from small_world import small_world


@pytest.fixture(scope="module")
def port(store):
    with serving(served_world(small_world(store), store, max_players=1)) as port:
        yield port


def get(port, path="/", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}"])
def test_the_page_is_served_under_names_of_this_machine(port, host):
    status, page, headers = get(port, Host=host.format(port=port))
    assert (status, "<title>Ghostpad" in page) == (200, True)
    assert "default-src 'self'" in headers["content-security-policy"]


FOREIGN = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example",
    "x@127.0.0.1",
    "10.0.0.1",
    "",
    "[::1",
]


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_was_bound_to_this_machine_by_others_gets_nothing(port, host):
    status, page, _ = get(port, Host=host.format(port=port))
    assert status in (400, 403)
    assert "<title>" not in page


@pytest.mark.parametrize("host", FOREIGN[:5])
def test_nor_does_its_websocket(port, host):
    name = host.format(port=port)
    with (
        pytest.raises(InvalidStatus, match="403"),
        Player(port, origin=f"http://{name}", additional_headers={"Host": name}),
    ):
        pass


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "file://"]
)
def test_pages_from_elsewhere_cannot_open_a_websocket(port, origin):
    with pytest.raises(InvalidStatus, match="403"), Player(port, origin=origin):
        pass


def test_our_own_page_can(port):
    with Player(port) as player:
        assert player.welcome["type"] == "welcome"


def test_served_to_everywhere_addresses_will_do_but_not_names():
    everywhere, named = OriginCheck(None, "0.0.0.0"), OriginCheck(None, "play.example")
    assert everywhere.serves("192.168.0.7:8765")
    assert not everywhere.serves("evil.example")
    assert named.serves("Play.Example:80")
    assert not named.serves("192.168.0.7")
    assert same_origin("https://play.example", "play.example")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/play/x", "/docs", "/openapi.json", "/..%2fserver.py", "/../server.py"]
)
def test_there_is_nothing_else(port, path):
    assert get(port, path)[0] == 404
    with pytest.raises(InvalidStatus, match="403"), Player(port, path=path):
        pass


def test_frames_to_start_from_are_pictures(port, store):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/starts/1/7.png")
    shown = np.asarray(Image.open(io.BytesIO(connection.getresponse().read())))
    assert np.array_equal(shown, store.read(1, [7], grayscale=False)[0].transpose(1, 2, 0))


@pytest.mark.parametrize(
    "path", ["/starts/0/40.png", "/starts/4/0.png", "/starts/-1/0.png", "/starts/0/x.png"]
)
def test_there_are_no_other_pictures(port, path):
    assert get(port, path)[0] == 404


def test_the_page_needs_nothing_from_elsewhere():
    files = [path for path in pathlib.Path(app.STATIC).iterdir() if path.suffix in (".html", ".css", ".js")]
    assert len(files) == 5
    for path in files:
        text = path.read_text()
        assert not re.search(r"https?://|//[a-z]+\.|@import|url\(", text), path
        assert not re.search(r"\son\w+=|style=|<script>|innerHTML|eval\(", text), (
            path
        )  # what the policy forbids


def test_messages_are_read():
    assert read_message('{"type": "press", "count": 3, "control": 2}') == Press(
        type="press", count=3, control=2
    )
    assert read_message('{"type": "temperature", "value": 1}') == Temperature(type="temperature", value=1.0)
    assert read_message('{"frame": 9, "type": "seen"}') == Seen(type="seen", frame=9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        "NaN",
        "{}",
        '{"type": "fly"}',
        '{"type": "seen"}',
        '{"type": "seen", "frame": -1}',
        '{"type": "seen", "frame": 4294967296}',
        '{"type": "seen", "frame": "1"}',
        '{"type": "seen", "frame": true}',
        '{"type": "seen", "frame": 1, "more": 1}',
        '{"type": "temperature", "value": NaN}',
        '{"type": "temperature", "value": Infinity}',
        '{"type": "temperature", "value": 1e999}',
        '{"type": "temperature", "value": 2.01}',
        '{"type": "speed", "fps": 0}',
        '{"type": "speed", "fps": 61}',
        '{"type": "pause", "paused": 1}',
        '{"type": "press", "count": 1, "control": 255}',
        '{"type": "reset", "episode": 0.5, "frame": 0}',
        json.dumps({"type": "reset", "episode": 10**30, "frame": 0}),
        "[" * 500 + "]" * 500,
    ],
)
def test_all_else_is_malformed(text):
    with pytest.raises(MalformedMessage):
        read_message(text)
