"""A headless Chromium, driven over its DevTools protocol."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

PROGRAM = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
KEY_NAMES = {"Space": " ", "KeyP": "p", "KeyN": "n", "KeyR": "r", "KeyA": "a"}


class Page:
    """One tab. `complaints` holds what it logged as errors, and scripts that failed."""

    def __init__(self, address: str) -> None:
        self._connecting = connect(address, max_size=2**26)
        self._socket = self._connecting.__enter__()
        self._number = 0
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict:
        """Call a method of the protocol and wait for its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=20))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict) -> None:
        method, params = message["method"], message["params"]
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str, seconds: float = 10) -> Any:
        """Wait for an expression to be true; returns its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.03)
        raise AssertionError(f"not in {seconds} s: {script}; complaints: {self.complaints}")

    def open(self, address: str) -> None:
        """Go there."""
        self.call("Page.navigate", url=address)

    def size(self, width: int, height: int, phone: bool = False, dark: bool = False) -> None:
        """Look like a window, or a phone, of that size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def key(self, code: str, down: bool) -> None:
        """Press or let go of a key."""
        name = KEY_NAMES.get(code, code.removeprefix("Digit"))
        kind = "keyDown" if down else "keyUp"
        number = {"windowsVirtualKeyCode": 9} if code == "Tab" else {}  # without it the focus stays
        self.call("Input.dispatchKeyEvent", type=kind, code=code, key=name, **number)

    def touch(self, selector: str | None) -> None:
        """Put a finger on an element; None lifts it."""
        points = []
        if selector is not None:
            place = f"document.querySelector({selector!r}).getBoundingClientRect()"
            x, y = self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({place})")
            points = [{"x": x, "y": y}]
        self.call("Input.dispatchTouchEvent", type="touchStart" if points else "touchEnd", touchPoints=points)

    def close(self) -> None:
        """Close the tab."""
        self.call("Page.close")
        self._connecting.__exit__(None, None, None)

    def screenshot(self, path: Path, whole: bool = True) -> Path:
        """Write a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
        return path


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Callable[[], Page]]:
    """Start Chromium with a profile of its own in `folder`; yields a function that opens a tab."""
    assert PROGRAM is not None
    options = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync "
        "--disable-component-update --disable-quic --hide-scrollbars --remote-debugging-port=0"
    )
    command = [PROGRAM, *options.split(), f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _port(folder / "DevToolsActivePort")

        def tab() -> Page:
            request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
            with urllib.request.urlopen(request, timeout=10) as answer:
                return Page(json.load(answer)["webSocketDebuggerUrl"])

        yield tab
    finally:
        process.terminate()
        process.wait(20)


def _port(file: Path) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("Chromium did not start")
