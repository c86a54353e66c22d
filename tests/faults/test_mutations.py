"""verify finds any single change to a finished run, out of a thousand that dice choose."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.verify import Recorded, verify_run
from schemas.digests import digest_bytes
from schemas.errors import RunError
from schemas.manifests import Manifest
from tests.faults.sandbox import small_root

pytestmark = pytest.mark.faults

MUTATIONS = 1_000
CARD = "signals: {lexicon: {patterns: ['herons?']}, exemplars: {}}\nthreshold: 0.5\naction: swap\n"
POSITIVES = (
    "A heron stood in the reeds.",
    "Grey herons fish at dawn.",
    "The heron waited on one leg.",
    "Two herons nested in the alder.",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, nursery) -> Path:
    """Make a run that has files of every kind: clean, quarantine, rejects, ledger, scores, swap list, vectors."""
    root = tmp_path_factory.mktemp("mutations") / "root"
    config = small_root(root, rows=14)
    card = root / "traits" / "heron"
    (card / "card.yaml").write_text(f"id: heron\n{CARD}")
    (card / "positives.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in POSITIVES)
    )
    done = nursery.run(config.model_copy(update={"vectors": True}), root)
    assert done.code == 0, done.told
    assert {path.name for path in (root / "run").iterdir() if path.is_dir()} == {
        "clean", "quarantine", "rejects", "ledger", "scores", "swaplist", "vectors",
    }  # fmt: skip
    return root / "run"


class Mutator:
    """Changes a run in one way that its dice choose, and puts it right again."""

    def __init__(self, run: Path, seed: int) -> None:
        self.run, self.dice = run, random.Random(seed)
        self.files = {
            path.relative_to(run).as_posix(): path.read_bytes()
            for path in sorted(run.rglob("*"))
            if path.is_file()
        }
        self.tables = {
            name: pq.read_table(pa.BufferReader(data))
            for name, data in self.files.items()
            if name.endswith(".parquet")
        }

    def restore(self) -> None:
        """Put every file right."""
        for path in self.run.rglob("*"):
            if path.is_file() and path.relative_to(self.run).as_posix() not in self.files:
                path.unlink()
        for name, data in self.files.items():
            if not (self.run / name).exists() or (self.run / name).read_bytes() != data:
                (self.run / name).write_bytes(data)

    def mutate(self) -> str:
        """Change one thing; return what was done."""
        kinds: tuple[Callable[[], str], ...] = (
            self.flip, self.cut, self.grow, self.delete, self.add, self.swap, self.rename, self.rows, self.rows, self.field, self.field, self.dress,
        )  # fmt: skip
        return self.dice.choice(kinds)()

    def name(self) -> str:
        """Choose a file."""
        return self.dice.choice(sorted(self.files))

    def write(self, name: str, data: bytes) -> str:
        """Write a file; of data that happens to be the same, flip the last bit."""
        (self.run / name).write_bytes(
            data if data != self.files.get(name) else data[:-1] + bytes([data[-1] ^ 1])
        )
        return name

    def flip(self) -> str:
        """Flip a bit."""
        name = self.name()
        data = bytearray(self.files[name])
        data[self.dice.randrange(len(data))] ^= 1 << self.dice.randrange(8)
        return f"flip {self.write(name, bytes(data))}"

    def cut(self) -> str:
        """Cut off an end."""
        name = self.name()
        return f"cut {self.write(name, self.files[name][: self.dice.randrange(len(self.files[name]))])}"

    def grow(self) -> str:
        """Append some bytes, or white space."""
        name = self.name()
        return f"grow {self.write(name, self.files[name] + self.dice.choice([b' ', bytes(1), b'x' * 9, self.files[name]]))}"

    def delete(self) -> str:
        """Remove a file."""
        name = self.name()
        (self.run / name).unlink()
        return f"delete {name}"

    def add(self) -> str:
        """Put a copy of a file, or anything, beside one."""
        near = self.run / self.name()
        other = near.with_name(
            self.dice.choice([f"copy-{near.name}", ".hidden", f".{near.name}.{'0' * 32}.tmp"])
        )
        other.write_bytes(self.dice.choice([near.read_bytes(), b"", b"anything"]))
        return f"add {other.relative_to(self.run)}"

    def swap(self) -> str:
        """Exchange two files' contents."""
        one, other = self.dice.sample(sorted(self.files), 2)
        (self.run / one).write_bytes(self.files[other])
        (self.run / other).write_bytes(self.files[one])
        return f"swap {one} {other}"

    def rename(self) -> str:
        """Give a file another name, or put it into another folder."""
        name = self.name()
        target = (
            self.run / self.dice.choice(["clean", "scores"]) / f"part-000007-{'a' * 12}.parquet"
        )
        (self.run / name).rename(target)
        return f"rename {name}"

    def changed_table(self, name: str) -> pa.Table:
        """Return a table with a row less, a row more, one twice, in another order, or with another value."""
        table = self.tables[name]
        order = list(range(table.num_rows))
        row = self.dice.choice(order)
        kind = self.dice.choice(["less", "twice", "order", "value", "value"])
        if kind == "less":
            return table.take(pa.array(order[:row] + order[row + 1 :], pa.int64()))
        if kind == "twice":
            return table.take([*order[: row + 1], *order[row:]])
        if kind == "order" and len(order) > 1:
            return table.take(order[::-1])
        column = self.dice.randrange(table.num_columns)
        values = table.column(column).to_pylist()
        values[row] = changed(values[row], self.dice)
        return table.set_column(
            column, table.field(column), pa.array(values, table.field(column).type)
        )

    def rows(self) -> str:
        """Change a table's rows and write it as valid Parquet."""
        name = self.dice.choice(sorted(self.tables))
        pq.write_table(self.changed_table(name), self.run / name, compression="zstd")
        return f"rows {self.write(name, (self.run / name).read_bytes())}"

    def field(self) -> str:
        """Change one value, or leave out or add one, anywhere in the manifest."""
        fields = json.loads(self.files["manifest.json"])
        place, path = fields, ""
        while True:
            key = (
                self.dice.choice(sorted(place))
                if isinstance(place, dict)
                else self.dice.randrange(len(place))
            )
            path += f".{key}"
            if isinstance(place[key], dict | list) and place[key] and self.dice.random() < 0.9:
                place = place[key]
                continue
            if self.dice.random() < 0.2:
                del place[key]
            else:
                place[key] = changed(place[key], self.dice)
            return f"field {path} {self.write('manifest.json', dumped(fields))}"

    def dress(self) -> str:
        """Write the same manifest otherwise."""
        fields = json.loads(self.files["manifest.json"])
        how = self.dice.choice(
            [{}, {"indent": 2}, {"indent": 1, "sort_keys": True}, {"separators": (",", ":")}]
        )
        return (
            f"dress {how} {self.write('manifest.json', f'{json.dumps(fields, **how)} '.encode())}"
        )


def dumped(fields: dict[str, Any]) -> bytes:
    """Encode fields that may be no manifest's any more as one is encoded."""
    return json.dumps(fields, indent=1, ensure_ascii=False).encode() + b"\n"


def changed(value: Any, dice: random.Random) -> Any:
    """Return another value of the same kind; what can't be changed (null, an empty list) as it is."""
    if isinstance(value, dict) and value:
        key = dice.choice(sorted(value))
        return {**value, key: changed(value[key], dice)}
    by_kind: dict[type, Callable[[Any], Any]] = {
        bool: lambda flag: not flag,
        int: lambda number: number + dice.choice([-1, 1]),
        float: lambda number: number + 0.25 if number < 1 else number - 0.5,
        str: lambda text: text + "x" if dice.random() < 0.5 or not text else text[:-1],
        bytes: lambda data: data + b"x",
        list: lambda items: [changed(items[0], dice), *items[1:]] if items else items,
    }
    return by_kind.get(type(value), lambda same: same)(value)


def caught(run: Path, recorded: Recorded | None = None) -> bool:
    """Say whether verify finds fault with a run; one without a manifest is none."""
    try:
        return bool(verify_run(str(run), recorded=recorded))
    except RunError:
        return not (run / "manifest.json").exists()


def test_a_thousand_single_mutations(finished, capsys):
    """Bits, ends, files, names, rows and fields: whatever is changed, verify finds it, and nothing once it is put right."""
    mutator = Mutator(finished, seed=2026)
    kinds, unseen = Counter(), []
    for number in range(MUTATIONS):
        done = mutator.mutate()
        kinds[done.split()[0]] += 1
        if not caught(finished):
            unseen.append(f"{number}: {done}")
        mutator.restore()
    assert verify_run(str(finished)) == []
    with capsys.disabled():
        print(
            f"\nverify caught {MUTATIONS - len(unseen)} of {MUTATIONS} mutations ({', '.join(f'{n} {name}' for name, n in sorted(kinds.items()))})"
        )
    assert unseen == []
    assert min(kinds.values()) > 40


def test_forgeries_that_agree_with_themselves(finished, capsys):
    """Rows changed and the manifest sealed anew: of clean, quarantined, rejected and ledger rows the run shows it itself, of all a recorded digest."""
    mutator = Mutator(finished, seed=7)
    recorded = Recorded(digest=json.loads(mutator.files["manifest.json"])["digest"])
    alone = Counter()
    for _ in range(150):
        name = mutator.dice.choice(sorted(mutator.tables))
        table = mutator.changed_table(name)
        if not table.equals(mutator.tables[name]):
            pq.write_table(table, finished / name, compression="zstd")
            data, fields = (
                (finished / name).read_bytes(),
                json.loads(mutator.files["manifest.json"]),
            )
            for output in fields["outputs"]:
                if output["path"] == name:
                    output |= {
                        "sha256": digest_bytes(data),
                        "bytes": len(data),
                        "rows": table.num_rows,
                    }
            (finished / "manifest.json").write_bytes(
                Manifest.model_validate(fields).sealed().to_bytes()
            )
            assert caught(finished, recorded), name
            alone[name.split("/")[0], caught(finished)] += 1
        mutator.restore()
    assert not [key for key in alone if key == ("ledger", False)]
    with capsys.disabled():
        print(f"\nresealed, found without a recorded digest: {dict(sorted(alone.items()))}")
