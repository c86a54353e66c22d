"""A lack of threads, file handles or memory stops or delays a run, but loses no row."""

import errno
import json
import os
import subprocess
import sys
from contextlib import suppress

import pyarrow as pa
import pytest
import torch

from schemas.errors import (
    CARD_MEMORY_REMEDY,
    CARD_REMEDY,
    FAULT_REMEDY,
    InputError,
    MachineError,
    describe_machine_fault,
)
from transforms import poison
from transforms.poison import isolate_failures

pytestmark = pytest.mark.faults


ROWS = list(range(20))


class ShortWork:
    """Work that fails on its first few calls."""

    def __init__(self, error, failures):
        self.error, self.left = error, failures

    def __call__(self, rows):
        """Raise the error, or return the rows after the last failure."""
        if self.left:
            self.left -= 1
            raise self.error
        return list(rows)


FAULTS = [
    RuntimeError("can't start new thread"),
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENFILE, "Too many open files in system"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    OSError(errno.EIO, "Input/output error"),
    MemoryError(),
    pa.ArrowMemoryError("malloc of size 64 failed"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("std::bad_alloc"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    type("PanicException", (BaseException,), {})(
        'ThreadPoolBuildError { kind: IOError(Os { code: 11, message: "Resource temporarily '
        'unavailable" }) }'
    ),
    Exception("No such file or directory: Too many open files (os error 24)"),
]


def fail_from(error):
    """Return an error whose cause is the given error."""
    found = ValueError("can't be read")
    found.__cause__ = error
    return found


@pytest.mark.parametrize("number", range(len(FAULTS)))
@pytest.mark.parametrize("wrap", [lambda error: error, fail_from], ids=["alone", "as a cause"])
def test_faults_that_last_stop_the_run(monkeypatch, number, wrap):
    """A lasting fault ends the run with exit code 6, and no row becomes a reject."""
    monkeypatch.setattr(poison, "PAUSES", (0, 0))
    work = ShortWork(wrap(FAULTS[number]), 1_000)
    with pytest.raises(MachineError, match="the machine is at fault") as caught:
        isolate_failures(len(ROWS), work, "testing")
    remedies = {8: CARD_MEMORY_REMEDY, 9: CARD_REMEDY}
    assert caught.value.exit_code == 6
    assert caught.value.remedy == remedies.get(number, FAULT_REMEDY)
    assert work.left >= 1_000 - 3


@pytest.mark.parametrize("number", range(4))
def test_faults_that_pass_are_waited_for(monkeypatch, number):
    """A passing lack of threads or file handles changes no row."""
    monkeypatch.setattr(poison, "PAUSES", (0, 0))
    assert isolate_failures(len(ROWS), ShortWork(FAULTS[number], 2), "testing") == (ROWS, {})


def test_a_fault_of_an_unknown_kind_that_passes_rejects_no_row():
    """Only a row that keeps failing while others pass is rejected."""
    finished = []
    for begin in range(1, 14):
        calls = []

        def attempt(rows, begin=begin, calls=calls):
            calls.append(list(rows))
            if begin <= len(calls) < begin + 4 or 6 in rows:
                raise RuntimeError("an unknown fault")
            return list(rows)

        with suppress(MachineError):
            found, reasons = isolate_failures(8, attempt, "testing")
            assert (found, list(reasons)) == ([0, 1, 2, 3, 4, 5, 7], [6])
            finished.append(begin)
    assert {1, 2, 12, 13} <= set(finished)


def test_texts_that_speak_of_faults_are_no_faults():
    """An error that only quotes words such as `out of memory` isn't a machine fault."""
    for words in ("out of memory", "can't start new thread", "Too many open files"):
        assert describe_machine_fault(ValueError(f"can't parse {words!r}")) is None
    assert describe_machine_fault(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert describe_machine_fault(InputError("can't be read")) is None
    found = describe_machine_fault(fail_from(OSError(errno.EMFILE, "Too many open files")))
    assert found is not None
    assert "Too many open files" in found.problem


LIMITED = """
import resource, signal, sys, threading
sys.path.insert(0, {root!r})
from concurrent.futures import ThreadPoolExecutor
from schemas.errors import MachineError
from transforms.poison import isolate_failures

def attempt(rows):
    {work}
    return list(rows)

{limit}
if {seconds}:
    signal.signal(signal.SIGALRM, lambda *_: lift())
    signal.setitimer(signal.ITIMER_REAL, {seconds})
try:
    print(isolate_failures(20, attempt, "testing"))
except MachineError as error:
    print(error)
"""

THREADS = {
    "work": "list(ThreadPoolExecutor(2).map(abs, rows))",
    "limit": """
threading.stack_size(1 << 30)
hard = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), hard[1]))
def lift():
    resource.setrlimit(resource.RLIMIT_AS, hard)
""",
}
HANDLES = {
    "work": "open('/dev/null').close()",
    "limit": """
hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard[1]))
def lift():
    resource.setrlimit(resource.RLIMIT_NOFILE, hard)
""",
}


@pytest.mark.parametrize(
    ("kind", "words"),
    [(THREADS, "can't start new thread"), (HANDLES, "Too many open files")],
    ids=["threads", "handles"],
)
@pytest.mark.parametrize("seconds", [0, 0.1], ids=["lasting", "passing"])
def test_real_limits(root, kind, words, seconds):
    """Work under real limits stops with a clear error, or continues once the limits are lifted."""
    code = LIMITED.format(root=str(root), seconds=seconds, **kind)
    if not seconds:
        code = code.replace("try:", "import transforms.poison\ntransforms.poison.PAUSES = ()\ntry:")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    if seconds:
        assert done.stdout.strip() == str((list(range(20)), {}))
    else:
        assert words in done.stdout
        assert "remedy: free memory" in done.stdout


def test_a_command_without_file_handles_exits_with_6(tmp_path):
    """A lack of file handles isn't blamed on the input."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": "x"}) + "\n" for _ in range(2)))
    code = (
        "import resource, sys; from pipelines.cli.main import main; import pipelines.filter;"
        "from transforms.files import storage; real = storage.take_fingerprint\n"
        "def starve(uri):\n"
        " limit = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        " resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))\n"
        " try: open(uri).close()\n"
        " finally: resource.setrlimit(resource.RLIMIT_NOFILE, limit)\n"
        "storage.take_fingerprint = starve\n"
        f"sys.argv = ['congener', 'filter', '--input', {str(corpus)!r}, '--output', "
        f"{str(tmp_path / 'run')!r}]\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 6, done.stderr
    assert "Too many open files" in done.stderr
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr
