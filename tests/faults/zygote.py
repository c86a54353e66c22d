"""A warm process that forks a child for each run.

It reads pickled jobs from stdin and writes outcomes to stdout. It replaces multiprocessing's fork
server, which mixes up the outcomes of parallel jobs.
"""

from __future__ import annotations

import base64
import os
import pickle
import sys

from tests.faults.sandbox import run_here, warm


def main() -> None:
    """Fork a child for every job; write its process id, then its exit code and CPU seconds."""
    answers = os.dup(1)
    os.dup2(2, 1)  # a run's output must not mix with the outcomes
    warm()
    for line in sys.stdin.buffer:
        job = pickle.loads(base64.b64decode(line))
        child = os.fork()
        if not child:
            run_here(*job)
        os.write(answers, f"{child}\n".encode())
        _, status, usage = os.wait4(child, 0)
        os.write(
            answers,
            f"{os.waitstatus_to_exitcode(status)} {usage.ru_utime + usage.ru_stime}\n".encode(),
        )


if __name__ == "__main__":
    main()
