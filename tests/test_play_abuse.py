"""Malformed messages, floods, crowds and pages that do not read: each harms its own connection alone."""

import contextlib
import random
import socket
import threading
import time

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed, WebSocketException

from ghostpad.play import app, session
from play_server import Player, served_world, serving
from small_world import small_world

TOO_BIG, POLICY, BROKEN, FULL = 1009, 1008, 1011, 1013


@pytest.fixture(scope="module")
def world(store):
    return small_world(store)


@pytest.fixture(scope="module")
def port(world, store):
    with serving(served_world(world, store, max_players=12)) as port:
        yield port


@pytest.fixture
def player(port):
    with Player(port) as player:
        player.frame()
        yield player


def still_plays(player, frames=5):
    before = player.frame().number
    return [player.frame().number for _ in range(frames)] == list(range(before + 1, before + 1 + frames))


NOISE = [
    "",
    "hello",
    "{" * 400,
    '{"type": "join", "more": 1}',
    '{"type": "pause", "paused": true}',
    '{"type": "seen", "frame": 1}',
    b"\x00\xff" * 40,
    "x" * 5000,
    b"x" * 100_000,
]


def make_noise(port, number):
    """One of many: raw bytes, half a handshake, or a WebSocket full of nonsense."""
    rng = random.Random(number)
    with contextlib.suppress(OSError, WebSocketException):
        if number % 5 == 0:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                raw.sendall(rng.randbytes(2000))
                raw.recv(100)
        elif number % 5 == 1:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                raw.sendall(b"GET /play HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n")
                time.sleep(0.5)
        else:
            with Player(port, join=number % 5 == 2) as noisy:
                noisy.socket.send(rng.choice(NOISE))
                noisy.closed()


def test_fifty_connections_of_garbage_do_not_hurt_one_that_plays(port, player):
    crowd = [threading.Thread(target=make_noise, args=(port, number)) for number in range(50)]
    for noisy in crowd:
        noisy.start()
    frames = 0
    while any(noisy.is_alive() for noisy in crowd):
        assert still_plays(player)
        frames += 5
    assert frames
    player.press(control=2)
    assert player.frame_that_heard(1).button == 1
    assert sits_down(port)


@pytest.mark.parametrize("noise", NOISE[:4] + NOISE[6:7])
@pytest.mark.parametrize("join", [False, True])
def test_a_malformed_message_closes_that_connection_alone(port, player, noise, join):
    with Player(port, join=join) as noisy:
        noisy.socket.send(noise)
        assert noisy.closed() == (POLICY, "not a message of this page")
    assert still_plays(player)


@pytest.mark.parametrize("noise", NOISE[7:])
def test_a_message_that_is_too_long_closes_that_connection_alone(port, player, noise):
    with Player(port) as noisy:
        noisy.socket.send(noise)
        assert noisy.closed()[0] == TOO_BIG
    assert still_plays(player)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"type": "join"}, "joined already"),
        ({"type": "seen", "frame": 10**6}, "this frame was never sent"),
        (
            {"type": "press", "count": 1, "control": 9},
            "there is no control 9; there are NOOP, FIRE, RIGHT, LEFT",
        ),
        ({"type": "press", "count": 1, "button": 3}, "there is no button 3"),
        ({"type": "press", "count": 1}, "there is no button None"),
    ],
)
def test_so_does_one_that_makes_no_sense(port, player, message, reason):
    with Player(port) as noisy:
        noisy.send(**message)
        assert noisy.closed() == (POLICY, reason)
    assert still_plays(player)


def test_a_seat_has_to_be_asked_for(port, monkeypatch):
    with Player(port, join=False) as rude:
        rude.send(type="step")
        assert rude.closed() == (POLICY, "join first")
    monkeypatch.setattr(app, "JOIN_SECONDS", 0.2)
    with Player(port, join=False) as silent:
        assert silent.closed() == (POLICY, "nothing was heard from this page")


def test_a_flood_closes_that_connection_alone(port, player):
    with Player(port) as flooding:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(5000):
                flooding.send(type="temperature", value=1.0)
        assert flooding.closed() == (POLICY, "too many messages")
    assert still_plays(player)


def test_pings_from_one_who_does_not_read_their_answers_do_not_pile_up(port, player):
    ping = (bytes([0x89, 0x80 | 125]) + bytes(4) + b"x" * 125) * 500
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        asked = f"GET /play HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"
        asked += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        deaf.sendall(f"{asked}Sec-WebSocket-Key: {'A' * 22}==\r\n\r\n".encode())
        assert deaf.recv(12) == b"HTTP/1.1 101"
        deaf.settimeout(2)
        with pytest.raises(TimeoutError):
            for _ in range(400):  # 26 MB; what the system keeps for both ends is a few
                deaf.sendall(ping)
        assert still_plays(player)


def test_as_fast_as_our_page_may_speak_is_no_flood(player):
    player.send(type="speed", fps=60)
    began = time.monotonic()
    while time.monotonic() - began < 3:
        player.press(control=random.choice((0, 2, 3)))
        player.frame()
    assert still_plays(player)


@pytest.fixture
def narrow(world, store):
    """The port of a server with one seat."""
    with serving(served_world(world, store, max_players=1)) as port:
        yield port


def sits_down(port):
    """Whether a seat is had within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with contextlib.suppress(ConnectionClosed), Player(port) as player:
            return player.welcome["type"] == "welcome"
        time.sleep(0.05)
    return False


def test_when_all_seats_are_taken_the_next_player_is_refused_and_may_join_later(narrow):
    with Player(narrow) as first:
        with Player(narrow, join=False) as second:
            second.send(type="join")
            assert second.closed() == (FULL, "all seats are taken")
        assert still_plays(first)
    assert sits_down(narrow)


def test_a_line_that_is_cut_gives_its_seat_back(narrow):
    with Player(narrow) as cut:
        cut.frame()
        cut.socket.socket.shutdown(socket.SHUT_RDWR)
    assert sits_down(narrow)


def test_a_slow_reader_gets_no_more_than_it_has_drawn(port, player):
    with Player(port) as slow:
        frames = [slow.frame(seen=False) for _ in range(session.MAX_FRAMES_IN_FLIGHT)]
        with pytest.raises(TimeoutError):
            slow.frame(seen=False, timeout=0.5)
        assert still_plays(player)
        slow.send(type="seen", frame=frames[1].number)
        assert [slow.frame(seen=False).number for _ in range(2)] == [4, 5]
        with pytest.raises(TimeoutError):
            slow.frame(seen=False, timeout=0.5)


def test_a_page_that_says_nothing_any_more_loses_its_seat(port, monkeypatch):
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.3)
    with Player(port) as gone:
        assert gone.closed() == (POLICY, "nothing was heard from this page")


def test_an_error_in_one_game_does_not_end_the_others(port, player, world, monkeypatch):
    whole = world.step

    def breaks_at_button_2(state, button, *rest):
        if button == 2:
            raise RuntimeError("broken")
        return whole(state, button, *rest)

    monkeypatch.setattr(world, "step", breaks_at_button_2)
    with Player(port) as broken:
        broken.press(button=2)
        assert broken.closed() == (BROKEN, "the game broke; the server's terminal says how")
    assert still_plays(player)
