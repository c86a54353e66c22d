"""Each file operation of a run fails in turn, and the next attempt succeeds."""

import os
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pipelines.verify import verify_run
from tests.faults.sandbox import (
    FINISHED,
    KINDS,
    REFUSED,
    Fault,
    Nursery,
    Point,
    write_small_root,
)
from tests.support.runs import comparable_files

pytestmark = pytest.mark.faults


def copy_root(template: Path, root: Path):
    """Copy a run's folder, and return the copy's configuration."""
    shutil.copytree(template, root)
    config = write_small_root(root.with_name(f"{root.name}.config"))
    shutil.rmtree(root.with_name(f"{root.name}.config"))
    moved = {
        "input": (str(root / "corpus.jsonl"),),
        "output": str(root / "run"),
        "traits": (str(root / "traits" / "heron"),),
    }
    return config.model_copy(update=moved)


def list_published(run: Path) -> dict[str, bytes]:
    """Return a run's comparable files, without working files."""
    files = comparable_files(run)
    return {name: data for name, data in files.items() if not name.startswith(".work/")}


def break_and_mend(
    nursery: Nursery,
    template: Path,
    root: Path,
    fault: Fault,
    restart: bool,
    wanted: dict[str, bytes],
) -> str:
    """Make a run fail at one point and run it again; return the first attempt's outcome.

    A successful attempt must leave the same files as an undisturbed run.
    """
    config = copy_root(template, root)
    first = nursery.run(config, root, restart=restart, fault=fault)
    where = f"{fault} (code {first.code})\n{first.stderr}"
    assert first.code in ((-9,) if fault.kind == "kill" else (0, REFUSED)), where
    if (root / "run" / "manifest.json").exists():
        assert verify_run(str(root / "run")) == [], where
        assert first.code or list_published(root / "run") == wanted, where
    else:
        assert first.code, where
    second = nursery.run(config, root, restart=restart)
    assert second.code in (0, FINISHED), f"{where}\nthen {second.code}\n{second.stderr}"
    assert comparable_files(root / "run") == wanted, f"{where}\nthen {second.code}\n{second.stderr}"
    shutil.rmtree(root)
    return "killed" if first.code == -9 else "survived" if first.code == 0 else "stopped"


@pytest.mark.parametrize("restart", [False, True], ids=["first run", "restart over a finished run"])
def test_every_operation_fails_once(nursery, tmp_path, restart, capsys):
    """A small run survives a kill or an error at each of its file operations.

    A kill, EIO, ENOSPC and EACCES take turns to save time. With CONGENER_EVERY_FAULT=1, every
    operation fails in each way. A restart over a finished run tries only the removals.
    """
    template, undisturbed = tmp_path / "template", tmp_path / "undisturbed"
    write_small_root(template)
    if restart:
        assert nursery.run(copy_root(template, undisturbed), undisturbed).code == 0
        shutil.rmtree(template)
        undisturbed.rename(template)
    done = nursery.run(copy_root(template, undisturbed), undisturbed, restart=restart)
    assert done.code == 0, done.stderr
    wanted = comparable_files(undisturbed / "run")
    points = [point for point in done.points if not restart or point.operation == "delete"]
    every, kinds = "CONGENER_EVERY_FAULT" in os.environ, tuple(KINDS)
    faults = [
        Fault(point, kind)
        for number, point in enumerate(points)
        for kind in (KINDS if every else (kinds[number % len(kinds)],))
    ]
    own = threading.local()
    with ExitStack() as stack:
        free = [stack.enter_context(closing(Nursery())) for _ in range(os.cpu_count())]
        pool = stack.enter_context(
            ThreadPoolExecutor(len(free), initializer=lambda: setattr(own, "nursery", free.pop()))
        )
        outcomes = Counter(
            pool.map(
                lambda case: break_and_mend(
                    own.nursery, template, tmp_path / f"case{case[0]}", case[1], restart, wanted
                ),
                enumerate(faults),
            )
        )
    counted = Counter(point.operation for point in points)
    with capsys.disabled():
        by_operation = ", ".join(f"{count} {name}" for name, count in counted.items())
        print(
            f"\n{len(points)} injection points ({by_operation}), "
            f"{len(faults)} cases: {dict(outcomes)}"
        )
    assert set(counted) == (
        {"delete"} if restart else {"open", "write", "flush", "fsync", "rename", "make", "delete"}
    )
    assert outcomes["killed"] == sum(fault.kind == "kill" for fault in faults)


def test_the_points_are_those_that_are_expected(nursery, tmp_path):
    """Every file of a run is opened, written, synced and renamed through the wrappers."""
    root = tmp_path / "root"
    write_small_root(root)
    done = nursery.run(copy_root(root, tmp_path / "case"), tmp_path / "case")
    renamed = {point.file for point in done.points if point.operation == "rename"}
    written = {
        path.relative_to(tmp_path / "case").as_posix()
        for folder in ("run", "cache")
        for path in (tmp_path / "case" / folder).rglob("*")
        if path.is_file()
    }
    assert {"run/manifest.json"} < {name for name in written if name.startswith("run/")} <= renamed
    assert len([name for name in written if name.startswith("cache/")]) == len(
        [name for name in renamed if name.startswith("cache/")]
    )
    for operation in ("open", "write", "flush", "fsync"):
        temporary = {
            point.file
            for point in done.points
            if point.operation == operation and point.file.endswith(".*.tmp")
        }
        assert temporary == {
            str(Path(name).with_name(f".{Path(name).name}.*.tmp")) for name in renamed
        }
    assert Point("delete", "run/.work", 0) in done.points
