"""Work on all cores, results in order."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TypeVar

from ghostpad.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
_WAITING_PER_WORKER = 4


def map_in_order(
    function: Callable[[Task], Result], tasks: Sequence[Task], num_workers: int
) -> Iterator[Result]:
    """Yield `function(task)` for each task, in order, from processes of their own (or from this one, if one).

    Few tasks are under way at any time, so that memory stays flat however many there are. The first error in
    the order of the tasks is raised, and ends all processes at once.

    Raises:
        UserError: a process ended abruptly.
    """
    num_workers = min(num_workers, len(tasks))
    if num_workers <= 1:
        yield from map(function, tasks)
        return
    # spawn, not fork: this process may run threads, whose locks a fork would leave held for ever
    context = multiprocessing.get_context("spawn")
    # nothing is ever sent: the workers end when this closes, which it also does when this process is killed
    listening, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(num_workers, context, _prepare_worker, (listening,))
    pending: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            with _held_back():
                pending.append(pool.submit(function, task))
            if len(pending) >= _WAITING_PER_WORKER * num_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        pool.shutdown()
    except BrokenProcessPool:
        raise UserError(
            "a worker process ended abruptly: free some memory or give --workers 1; "
            "a script must also call this under `if __name__ == '__main__':`"
        ) from None
    finally:
        held.close()
        pool.shutdown(cancel_futures=True)
        listening.close()


@contextmanager
def _held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait while a process is started.

    They would leave it half registered here, to be waited for at the end for ever. The process inherits the
    mask, and so does not die with a traceback while it loads either.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker(listening: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when it lets go."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))

    def end_with_parent() -> None:
        listening.poll(None)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
