"""A warm process that forks others for one run each: pickled jobs come on stdin, what became of them goes to stdout.

multiprocessing's fork server would do, but two threads that wait for children of it mistake each other's.
"""

from __future__ import annotations

import base64
import os
import pickle
import sys

from tests.faults.sandbox import run_here, warm


def main() -> None:
    """Fork for every job: its id first, then, when it has ended, how and after how many seconds of computing."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a run prints belongs with the errors
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
