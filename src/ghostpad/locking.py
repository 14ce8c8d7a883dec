"""One writer at a time: a lock file that goes when its holder ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ghostpad.errors import UserError


@contextmanager
def writing(path: Path, wait: bool) -> Iterator[None]:
    """Hold the right to write `path`; the lock file lies beside it, hidden.

    Args:
        path: what will be written.
        wait: wait for another writer to finish; else refuse at once.

    Raises:
        UserError: another process is writing `path`, or its folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = _acquire(lock, wait)
    except BlockingIOError:
        raise UserError(f"{path} is being written by another process; wait for it to finish") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); choose another place with --out"
        ) from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)


def _acquire(lock: Path, wait: bool) -> int:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # the holder before us may have removed the file while we waited: then ours locks nothing
            if lock.exists() and os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
