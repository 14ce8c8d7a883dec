"""Child processes that die in the middle of their work.

They come from a fork server, since a fork of a test process inherits locks and lacks the threads of what
earlier tests loaded, and can wait for either for ever.
"""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

from ghostpad.frames.ingest import IngestConfig, ingest

PATIENCE = 120  # seconds


def exit_status(work: Callable[..., object], *arguments: object) -> int:
    """Exit status of `work(*arguments)` in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dying", "ghostpad.training.latent_action"])
    child = context.Process(target=work, args=arguments)
    child.start()
    child.join(PATIENCE)
    if child.exitcode is None:
        child.kill()
        raise TimeoutError(f"{work} did not end")
    return child.exitcode


def ingest_and_die(source: Path, moment: int) -> None:
    """Ingest until the n-th file operation, and exit with 9; with 0 if there were fewer."""
    left = moment

    def dying(method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            return method(*arguments, **options)

        return call

    for method in ("rename", "replace", "unlink", "open", "write_text"):
        setattr(Path, method, dying(getattr(Path, method)))
    ingest(IngestConfig(source))
    os._exit(0)
