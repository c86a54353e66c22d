"""Every single file operation of a run fails once; run again, it ends as if nothing had happened."""

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
    contents,
    small_root,
)

pytestmark = pytest.mark.faults


def copied(template: Path, root: Path):
    """Copy a folder that a run was made in; return the same run's configuration there."""
    shutil.copytree(template, root)
    config = small_root(root.with_name(f"{root.name}.config"))
    shutil.rmtree(root.with_name(f"{root.name}.config"))
    moved = {
        "input": (str(root / "corpus.jsonl"),),
        "output": str(root / "run"),
        "traits": (str(root / "traits" / "heron"),),
    }
    return config.model_copy(update=moved)


def broken_and_mended(
    nursery: Nursery,
    template: Path,
    root: Path,
    fault: Fault,
    restart: bool,
    wanted: dict[str, bytes],
) -> str:
    """Let a run fail at one point, run it again, and return how the first attempt ended; assert that nothing is lost or wrong."""
    config = copied(template, root)
    first = nursery.run(config, root, restart=restart, fault=fault)
    where = f"{fault} (code {first.code})\n{first.told}"
    assert first.code in ((-9,) if fault.kind == "kill" else (0, REFUSED)), where
    if (root / "run" / "manifest.json").exists():
        assert verify_run(str(root / "run")) == [], where
        assert first.code or contents(root / "run") == wanted, where
    else:
        assert first.code, where
    second = nursery.run(config, root, restart=restart)
    assert second.code in (0, FINISHED), f"{where}\nthen {second.code}\n{second.told}"
    assert contents(root / "run") == wanted, f"{where}\nthen {second.code}\n{second.told}"
    shutil.rmtree(root)
    return "killed" if first.code == -9 else "survived" if first.code == 0 else "stopped"


@pytest.mark.parametrize("restart", [False, True], ids=["first run", "restart over a finished run"])
def test_every_operation_fails_once(nursery, tmp_path, restart, capsys):
    """Error, no space, permission, and death, at every open, write, flush, sync, rename, folder and removal of a small run.

    Of a restart over a finished run, the removals: the rest is as in a first run.
    """
    template, undisturbed = tmp_path / "template", tmp_path / "undisturbed"
    small_root(template)
    if restart:
        assert nursery.run(copied(template, undisturbed), undisturbed).code == 0
        shutil.rmtree(template)
        undisturbed.rename(template)
    done = nursery.run(copied(template, undisturbed), undisturbed, restart=restart)
    assert done.code == 0, done.told
    wanted = contents(undisturbed / "run")
    points = [point for point in done.points if not restart or point.operation == "delete"]
    faults = [Fault(point, kind) for point in points for kind in KINDS]
    with ExitStack() as opened:
        own, free = (
            threading.local(),
            [opened.enter_context(closing(Nursery())) for _ in range(os.cpu_count())],
        )
        pool = opened.enter_context(
            ThreadPoolExecutor(len(free), initializer=lambda: setattr(own, "nursery", free.pop()))
        )
        outcomes = Counter(
            pool.map(
                lambda case: broken_and_mended(
                    own.nursery, template, tmp_path / f"case{case[0]}", case[1], restart, wanted
                ),
                enumerate(faults),
            )
        )
    counted = Counter(point.operation for point in points)
    with capsys.disabled():
        print(
            f"\n{len(points)} injection points ({', '.join(f'{n} {name}' for name, n in counted.items())}), {len(faults)} cases: {dict(outcomes)}"
        )
    assert set(counted) == (
        {"delete"} if restart else {"open", "write", "flush", "fsync", "rename", "make", "delete"}
    )
    assert outcomes["killed"] == len(points)


def test_the_points_are_those_that_are_expected(nursery, tmp_path):
    """Every file of a run is opened, written, flushed, synced and renamed at a point of its own: none slips by the wrapping."""
    root = tmp_path / "root"
    small_root(root)
    done = nursery.run(copied(root, tmp_path / "case"), tmp_path / "case")
    renamed = {point.place for point in done.points if point.operation == "rename"}
    written = {
        path.relative_to(tmp_path / "case").as_posix()
        for folder in ("run", "cache")
        for path in (tmp_path / "case" / folder).rglob("*")
        if path.is_file()
    }
    assert {name for name in written if name.startswith("run/")} <= renamed
    assert len([name for name in written if name.startswith("cache/")]) == len(
        [name for name in renamed if name.startswith("cache/")]
    )
    for operation in ("open", "write", "flush", "fsync"):
        temporary = {
            point.place
            for point in done.points
            if point.operation == operation and point.place.endswith(".*.tmp")
        }
        assert temporary == {
            str(Path(name).with_name(f".{Path(name).name}.*.tmp")) for name in renamed
        }
    assert Point("delete", "run/.work", 0) in done.points
