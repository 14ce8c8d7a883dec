"""Map a function over tasks on all cores; results come in the order of the tasks."""

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
_PENDING_PER_WORKER = 4


def map_in_order(
    function: Callable[[Task], Result], tasks: Sequence[Task], num_workers: int
) -> Iterator[Result]:
    """Yield `function(task)` for each task, in order, from worker processes (or here, if one is enough).

    Few tasks are in flight at any time, so memory stays flat however many there are. The first error, in the
    order of the tasks, is raised and ends all workers at once.

    Raises:
        UserError: a worker ended abruptly.
    """
    num_workers = min(num_workers, len(tasks))
    if num_workers <= 1:
        yield from map(function, tasks)
        return
    # spawn, not fork: this process may run threads, and a child would inherit their locks, held forever
    context = multiprocessing.get_context("spawn")
    # Nothing is ever sent: workers end when `held` closes, and it also closes when this process is killed.
    listening, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(num_workers, context, _start_worker, (listening,))
    pending: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            with _deferred_signals():
                pending.append(pool.submit(function, task))
            if len(pending) >= _PENDING_PER_WORKER * num_workers:
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
def _deferred_signals() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM while a worker starts.

    Either would leave a half-registered process, and the shutdown would wait for it for ever. The worker
    inherits the mask, so it does not die with a traceback while it imports either.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(listening: Connection) -> None:
    """Leave Ctrl-C to the parent, and end when the parent closes its end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))

    def end_with_parent() -> None:
        listening.poll(None)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
