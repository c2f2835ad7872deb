"""Real processes without the wait for imports: reads a command line as JSON, forks, and runs it in the child.

Run as a script. For each line on standard input: prints the child's process id, and later its exit status as
`wait` gives it. The child is the program itself, so it can be killed like any other; what it prints is appended to
the file `log`.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress

from evals.cli import main as cli

USUAL = (
    "run --scenario democratic --platforms --num-agents 2 --max-timesteps 2 --two-timescale 1 --llm rules",
    "export all --to out",
    "import out --db other.duckdb",
)
"""Commands that import most of what any command imports."""


def child(folder: str, args: list[str], log: str) -> None:
    """Be the program, as from a terminal: what runs the tests may ignore Ctrl-C and SIGHUP."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.chdir(folder)
    out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["llm-economist", *args]
    code = 0
    try:
        cli.main()
    except SystemExit as exit:
        code = int(exit.code or 0)
    except KeyboardInterrupt:  # before `main` heard signals, or after
        code = 130
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


def prepare() -> None:
    """Import what commands import: a child carries out some, and tells. No thread begins and no file opens here."""
    cli._commands()
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.dup2(os.open("log", os.O_CREAT | os.O_WRONLY), 1)
            for command in USUAL:
                sys.argv = ["llm-economist", *command.split()]
                with suppress(SystemExit):
                    cli.main()
        os.write(writer, json.dumps(list(sys.modules)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        names = json.loads(told.read())
    os.waitpid(pid, 0)
    for name in names:
        if not name.startswith("__"):
            with suppress(ImportError):
                importlib.import_module(name)


if __name__ == "__main__":
    prepare()
    gc.freeze()  # children share this memory
    for line in sys.stdin:
        request = json.loads(line)
        if pid := os.fork():
            print(pid, flush=True)
            print(os.waitpid(pid, 0)[1], flush=True)
        else:
            child(**request)
