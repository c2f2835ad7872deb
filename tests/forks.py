"""Real processes without the wait for imports: reads a command line as JSON, forks, and runs it in the child.

Run as a script. For each line on standard input: prints the child's process id, and later its exit status as
`wait` gives it. The child is the program itself, so it can be killed like any other.
"""

import json
import os
import sys

import evals.again  # noqa: F401
import evals.running  # noqa: F401  (imported once, before any fork)
from evals.cli import main


def child(folder: str, args: list[str]) -> None:
    os.chdir(folder)
    log = os.open("out.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["llm-economist", *args]
    try:
        main()
    except SystemExit as exit:
        sys.stdout.flush()
        os._exit(int(exit.code or 0))
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        if pid := os.fork():
            print(pid, flush=True)
            print(os.waitpid(pid, 0)[1], flush=True)
        else:
            child(request["folder"], request["args"])
