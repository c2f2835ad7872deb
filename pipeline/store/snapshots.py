"""Consistent copies of a database that a run is writing, requested from the writer over a Unix socket.

DuckDB lets one process own a file. A process that wants to read it asks the owner for a copy, through a socket next to
the file. The owner makes the copy between two commits. Queries then run on the copy and can neither slow down nor
damage the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError

LONGEST_SOCKET = 100
"""The longest socket path in bytes (Unix allows about 108); for longer ones the temporary folder is used."""

SNAPSHOT_TIMEOUT = 60.0
"""Seconds to wait for a copy."""

CLIENTS = 16
"""The most clients served at once."""

LONGEST_REQUEST = 10_000
"""The most bytes of a request, a line of JSON that must arrive within `HEARING` seconds."""

HEARING = 5.0


class NoAnswer(StoreError):
    """The process that has the database open is not a run, or has ended."""


def socket_path(database: str) -> str:
    """The socket on which the owner of `database` listens."""
    beside = f"{Path(database).absolute()}.sock"
    if len(beside) <= LONGEST_SOCKET:
        return beside
    digest = hashlib.blake2b(beside.encode(), digest_size=8).hexdigest()
    return str(Path(tempfile.gettempdir()) / f"llm-economist-{digest}.sock")


def snapshot(path: str, folder: str) -> str:
    """Let the process that writes `path` copy it into `folder`; returns the path of the copy.

    StoreError if it cannot, NoAnswer if no process answers.
    """
    answer = _ask(path, {"copy_to": str(Path(folder).absolute())})
    if "error" in answer:
        raise StoreError(f"{path}: the running process could not copy it ({answer['error']})")
    return str(answer["path"])


def status(path: str) -> dict[str, Any]:
    """The process id and the progress of the run that writes `path`."""
    return _ask(path, {"status": True})


def _ask(path: str, request: dict[str, Any]) -> dict[str, Any]:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SNAPSHOT_TIMEOUT)
            _connect(client, socket_path(path))
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile() as answer:
                reply: dict[str, Any] = json.loads(answer.readline())
                return reply
    except (OSError, ValueError) as error:
        raise NoAnswer(f"{path} is in use by another process, which does not answer requests ({error})") from error


def _connect(client: socket.socket, address: str) -> None:
    """Connect, with retries while the server's queue is full."""
    for _ in range(100):
        with suppress(BlockingIOError):
            client.connect(address)
            return
        time.sleep(HEARING / 100)
    client.connect(address)


def _line(client: socket.socket) -> bytes:
    """The first line that a client sends. OSError or ValueError if it is too long or takes too long."""
    until, heard = time.monotonic() + HEARING, b""
    while b"\n" not in heard:
        client.settimeout(max(0.001, until - time.monotonic()))
        more = client.recv(4096)
        heard += more
        if not more or len(heard) > LONGEST_REQUEST:
            raise ValueError("no request")
    client.settimeout(HEARING)
    return heard.partition(b"\n")[0]


def copy_files(path: str, folder: str) -> str:
    """Copy a database and its log into `folder`, while nothing writes them; returns the path of the copy.

    A child process copies, because a process that has the file open would lose DuckDB's POSIX lock by opening and
    closing the file once more. OSError if it cannot.
    """
    present = [file for file in (path, f"{path}.wal", f"{path}.wal.checkpoint") if os.path.exists(file)]
    done = subprocess.run(
        ["cp", "--reflink=auto", "--", *present, folder],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise OSError(" ".join(done.stderr.split())[:200])
    return str(Path(folder) / Path(path).name)


class Server:
    """Serves copies and status of one open store, in a thread. `lock` is held while the file must not change.

    The status is `progress`, which the owner sets, and what `at_this_moment` returns when a client asks.
    """

    def __init__(self, path: str, lock: threading.RLock) -> None:
        self.path, self.lock = path, lock
        self.progress: dict[str, Any] = {}
        self.at_this_moment: Callable[[], dict[str, Any]] = dict
        self.address = socket_path(path)
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            with suppress(FileNotFoundError):
                os.unlink(self.address)  # left by a killed owner; DuckDB's lock shows that there is none now
            self.socket.bind(self.address)
            os.chmod(self.address, 0o600)
            self.socket.listen(CLIENTS)
        except OSError as error:
            self.socket.close()
            raise StoreError(
                f"the socket {self.address} for reading {path} during the run cannot be created "
                f"({error.strerror or error}); move any file with that name away, or choose another --db"
            ) from error
        self._room = threading.BoundedSemaphore(CLIENTS)
        self._answering: set[threading.Thread] = set()
        self.thread = threading.Thread(target=self._serve, name="live", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(SNAPSHOT_TIMEOUT)
        for answering in list(self._answering):  # clients that have sent a request get an answer
            answering.join(SNAPSHOT_TIMEOUT)
        with suppress(FileNotFoundError):
            os.unlink(self.address)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return  # closed
            self._room.acquire()
            threading.Thread(target=self._talk, args=(client,), name="live client", daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        """Answer one request. A faulty client affects only its own connection."""
        try:
            with client, suppress(OSError, ValueError, RecursionError):
                request = json.loads(_line(client))
                self._answering.add(threading.current_thread())
                client.sendall(json.dumps(self._answer(request)).encode() + b"\n")
        finally:
            self._answering.discard(threading.current_thread())
            self._room.release()

    def _answer(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict):
            return {"error": "expected an object"}
        if "copy_to" in request:
            return self._copy(str(request["copy_to"]))
        return {"pid": os.getpid(), "path": self.path, **self.progress, **self.at_this_moment()}

    def _copy(self, folder: str) -> dict[str, Any]:
        """Copy the file and its log between two commits."""
        with self.lock:
            try:
                return {"path": copy_files(self.path, folder)}
            except OSError as error:
                return {"error": str(error)}
