"""One writer at a time, across processes: a lock that ends with its holder, however that ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ghostpad.errors import UserError


@contextmanager
def writing(path: Path, wait: bool, advice: str = "choose another place with --out") -> Iterator[None]:
    """Hold the exclusive right to write `path`; the lock file lies beside it, hidden.

    Args:
        path: what will be written.
        wait: wait until another writer has finished; otherwise refuse at once.
        advice: what to do where nothing can be written.

    Raises:
        UserError: another process is writing `path`, or the folder that holds it is not writable.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=wait)
    except Timeout:
        raise UserError(f"{path} is being written by another process; wait for it to finish") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); {advice}") from None
    try:
        yield
    finally:
        # Removed while it is held: whoever waits for this file notices, and locks a new one.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
