"""Questions to a database that a run is writing: the writer hands out consistent copies over a Unix socket.

DuckDB lets one process own a file. Whoever wants to read meanwhile asks the owner, through a socket beside the file,
for a copy; the owner makes it between two commits, so it is as of the last one. Queries then run on the copy, in the
same box as on a file at rest, and can neither slow nor harm the run.
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
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError

LONGEST_SOCKET = 100
"""Unix socket paths end at about 108 bytes; longer ones move to the folder for temporary files."""

SNAPSHOT_TIMEOUT = 60.0
"""Seconds to wait for a copy."""

CLIENTS = 16
"""Clients that are heard at once."""

LONGEST_REQUEST = 10_000
"""Bytes of a request, a line of JSON; it has to come within `HEARING` seconds."""

HEARING = 5.0


class NoAnswer(StoreError):
    """The process that has the database open is no run of ours, or has ended."""


def socket_path(database: str) -> str:
    """Where the owner of `database` listens."""
    beside = f"{Path(database).absolute()}.sock"
    if len(beside) <= LONGEST_SOCKET:
        return beside
    digest = hashlib.blake2b(beside.encode(), digest_size=8).hexdigest()
    return str(Path(tempfile.gettempdir()) / f"llm-economist-{digest}.sock")


def snapshot(path: str, folder: str) -> str:
    """Have the process that writes `path` copy it into `folder`; the copy's path.

    StoreError if it cannot, NoAnswer if nobody answers.
    """
    answer = _ask(path, {"copy_to": str(Path(folder).absolute())})
    if "error" in answer:
        raise StoreError(f"{path}: the running process could not copy it ({answer['error']})")
    return str(answer["path"])


def status(path: str) -> dict[str, Any]:
    """What the process that writes `path` says of itself: its process id and its run's progress."""
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
        raise NoAnswer(f"{path} is in use by another process, which does not answer questions ({error})") from error


def _connect(client: socket.socket, address: str) -> None:
    """Connect, also where so many others do that the queue is full for a moment."""
    for _ in range(100):
        with suppress(BlockingIOError):
            client.connect(address)
            return
        time.sleep(HEARING / 100)
    client.connect(address)


def _line(client: socket.socket) -> bytes:
    """The first line that a client sends. OSError or ValueError where it is too long or takes too long."""
    until, heard = time.monotonic() + HEARING, b""
    while b"\n" not in heard:
        client.settimeout(max(0.001, until - time.monotonic()))
        more = client.recv(4096)
        heard += more
        if not more or len(heard) > LONGEST_REQUEST:
            raise ValueError("no request")
    client.settimeout(HEARING)
    return heard.partition(b"\n")[0]


class Server:
    """Answers for one open store, in a thread. `lock` is held while the file must not change."""

    def __init__(self, path: str, lock: threading.RLock) -> None:
        self.path, self.lock = path, lock
        self.progress: dict[str, Any] = {}
        self.address = socket_path(path)
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            with suppress(FileNotFoundError):
                os.unlink(self.address)  # left behind by a killed owner: DuckDB's lock says that there is none now
            self.socket.bind(self.address)
            os.chmod(self.address, 0o600)
            self.socket.listen(CLIENTS)
        except OSError as error:
            self.socket.close()
            raise StoreError(
                f"{self.address}, where others would ask for {path}, cannot be made ({error.strerror or error}); "
                "move what is there away, or choose another --db"
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
        for answering in list(self._answering):  # who has asked gets an answer
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
        """Answer one question. Whatever a client sends or leaves out ends its own connection, and nothing else."""
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
        return {"pid": os.getpid(), "path": self.path, **self.progress}

    def _copy(self, folder: str) -> dict[str, Any]:
        """Copy the file and its log between two commits.

        By a child process: DuckDB's lock is POSIX's, and is lost as soon as the owner itself opens and closes the file.
        """
        files = [self.path, f"{self.path}.wal", f"{self.path}.wal.checkpoint"]
        with self.lock:
            present = [file for file in files if os.path.exists(file)]
            done = subprocess.run(
                ["cp", "--reflink=auto", "--", *present, folder],
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        if done.returncode:
            return {"error": " ".join(done.stderr.split())[:200]}
        return {"path": str(Path(folder) / Path(self.path).name)}
