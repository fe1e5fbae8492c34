"""One run in a folder at a time: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

if sys.platform != "win32":
    import fcntl

NAME = ".lock"

# the system's lock is the process's: its threads do not exclude each other by it
_guard = threading.Lock()
_held: set[tuple[int, Path]] = set()


class LockedError(RuntimeError):
    """A folder in which another process trains; the message says which one."""


@contextmanager
def locked(folder: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Keep the folder of a run, which is made if need be, for this process; of several, the first one does so.

    The system's record lock counts. It ends with its process, forked loader processes do not inherit it, and it reaches
    other machines where the file system passes locks on. What stands in the file is for people.

    Args:
        folder: of the run.
        say: is told where the file system has no locks.

    Raises:
        LockedError: another process, or this one, holds it; nothing was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # a child starts with a copy of the set, in which its own number is not
    own = os.getpid(), folder.resolve()
    with _guard:
        if own in _held:
            raise LockedError(f"{folder}: this process trains in it already")
        _held.add(own)
    try:
        with _locked_by_process(folder, say):
            yield
    finally:
        _held.discard(own)


@contextmanager
def _locked_by_process(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    path = folder / NAME
    while True:
        with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+") as file:
            if not _lock(file, folder, say):
                continue
            since = datetime.now().isoformat(" ", "seconds")
            file.truncate(0)
            json.dump({"host": socket.gethostname(), "pid": os.getpid(), "since": since}, file)
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _lock(file: TextIO, folder: Path, say: Callable[[str], None]) -> bool:
    """Lock an open file; False if whoever held it has removed it in between."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise LockedError(
                f"{folder}: {_holder(file)}; wait for its end, stop it, or choose another --out"
            ) from None
        say(f"{folder}: its file system knows no locks ({error.strerror}), so see that no second run starts in it")
        return True
    return os.fstat(file.fileno()).st_nlink > 0


def _holder(file: TextIO) -> str:
    try:
        held = json.load(file)
        return f"process {held['pid']} on {held['host']} has trained in it since {held['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process trains in it"
