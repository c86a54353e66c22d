"""`verify` finds each of a thousand random changes to a finished run."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.verify import RecordedDigests, verify_run
from schemas.digests import digest_bytes
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.runs import is_bank_file, is_json_lines
from tests.faults.sandbox import write_small_root

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
    """Filter a corpus into a run with every kind of file."""
    root = tmp_path_factory.mktemp("mutations") / "root"
    config = write_small_root(root, rows=14)
    card = root / "traits" / "heron"
    (card / "card.yaml").write_text(f"id: heron\n{CARD}")
    (card / "positives.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in POSITIVES)
    )
    done = nursery.run(config.model_copy(update={"vectors": True}), root)
    assert done.code == 0, done.stderr
    assert {path.name for path in (root / "run").iterdir() if path.is_dir()} == {
        "clean", "quarantine", "rejects", "ledger", "scores", "spans", "calibration", "swaplist",
        "vectors", "bank",
    }  # fmt: skip
    return root / "run"


class Mutator:
    """Random single changes to a run, which can be undone."""

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
        self.lines = {
            name: data.splitlines(keepends=True)
            for name, data in self.files.items()
            if is_json_lines(name)
        }

    def restore(self) -> None:
        """Undo all changes."""
        for path in self.run.rglob("*"):
            if path.is_file() and path.relative_to(self.run).as_posix() not in self.files:
                path.unlink()
        for name, data in self.files.items():
            if not (self.run / name).exists() or (self.run / name).read_bytes() != data:
                (self.run / name).write_bytes(data)

    def mutate(self) -> str:
        """Make one random change, and return its description."""
        kinds: tuple[Callable[[], str], ...] = (
            self.flip, self.cut, self.grow, self.delete, self.add, self.swap, self.rename,
            self.change_rows, self.change_rows, self.change_line, self.change_line,
            self.change_field, self.change_field, self.reformat,
        )  # fmt: skip
        return self.dice.choice(kinds)()

    def choose_file(self) -> str:
        """Choose a file."""
        return self.dice.choice(sorted(self.files))

    def write(self, name: str, data: bytes) -> str:
        """Write data to a file, with the last bit flipped if nothing else changes."""
        (self.run / name).write_bytes(
            data if data != self.files.get(name) else data[:-1] + bytes([data[-1] ^ 1])
        )
        return name

    def flip(self) -> str:
        """Flip a bit."""
        name = self.choose_file()
        data = bytearray(self.files[name])
        data[self.dice.randrange(len(data))] ^= 1 << self.dice.randrange(8)
        return f"flip {self.write(name, bytes(data))}"

    def cut(self) -> str:
        """Truncate a file."""
        name = self.choose_file()
        data = self.files[name]
        return f"cut {self.write(name, data[: self.dice.randrange(len(data))])}"

    def grow(self) -> str:
        """Append bytes or a space to a file."""
        name = self.choose_file()
        data = self.files[name]
        more = self.dice.choice([b" ", bytes(1), b"x" * 9, data])
        return f"grow {self.write(name, data + more)}"

    def delete(self) -> str:
        """Remove a file."""
        name = self.choose_file()
        (self.run / name).unlink()
        return f"delete {name}"

    def add(self) -> str:
        """Add a file beside another, with equal or different bytes.

        A hidden file in the bank would be litter, because it isn't named like a bank file.
        """
        near = self.run / self.dice.choice(sorted({*self.files} - {"manifest.json"}))
        names = [f"copy-{near.name}", "rows"]
        if not is_bank_file(near.relative_to(self.run).as_posix()):
            names.append(f"._{near.name}")
        other = near.with_name(self.dice.choice(names))
        other.write_bytes(self.dice.choice([near.read_bytes(), b"", b"anything"]))
        return f"add {other.relative_to(self.run)}"

    def swap(self) -> str:
        """Swap the contents of two files."""
        one, other = self.dice.sample(sorted(self.files), 2)
        (self.run / one).write_bytes(self.files[other])
        (self.run / other).write_bytes(self.files[one])
        return f"swap {one} {other}"

    def rename(self) -> str:
        """Rename a file, perhaps into another folder."""
        name = self.choose_file()
        suffix = self.dice.choice([".parquet", ".jsonl", ".jsonl.gz"])
        target = (
            self.run / self.dice.choice(["clean", "scores"]) / f"part-000007-{'a' * 12}{suffix}"
        )
        (self.run / name).rename(target)
        return f"rename {name}"

    def change_table(self, name: str) -> pa.Table:
        """Return a table with a row removed, repeated or changed, or in reverse order."""
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
        values[row] = change_value(values[row], self.dice)
        return table.set_column(
            column, table.field(column), pa.array(values, table.field(column).type)
        )

    def change_rows(self) -> str:
        """Change the rows of a table and write it as valid Parquet."""
        name = self.dice.choice(sorted(self.tables))
        pq.write_table(self.change_table(name), self.run / name, compression="zstd")
        return f"rows {self.write(name, (self.run / name).read_bytes())}"

    def edit_lines(self, name: str) -> list[bytes]:
        """Return a file's lines with a line removed, repeated or changed, or in reverse order."""
        lines = list(self.lines[name])
        row = self.dice.randrange(len(lines))
        kind = self.dice.choice(
            ["less", "twice", "order", "value", "value", "form", "cut", "blank"]
        )
        if kind == "order" and len(lines) > 1:
            return lines[::-1]
        line = lines[row]
        value = change_value(json.loads(line), self.dice)
        replaced = {
            "less": [],
            "twice": [line, line],
            "form": [line.replace(b": ", b":", 1)],
            "cut": [line[: self.dice.randrange(len(line))]],
            "blank": [b"\n", line],
        }.get(kind, [json.dumps(value).encode() + b"\n"])
        return [*lines[:row], *replaced, *lines[row + 1 :]]

    def change_line(self) -> str:
        """Change the lines of a JSON Lines file, mostly to valid lines."""
        name = self.dice.choice(sorted(self.lines))
        return f"lines {self.write(name, b''.join(self.edit_lines(name)))}"

    def change_field(self) -> str:
        """Change or remove one value in the manifest."""
        fields = json.loads(self.files["manifest.json"])
        parent, path = fields, ""
        while True:
            key = (
                self.dice.choice(sorted(parent))
                if isinstance(parent, dict)
                else self.dice.randrange(len(parent))
            )
            path += f".{key}"
            if isinstance(parent[key], dict | list) and parent[key] and self.dice.random() < 0.9:
                parent = parent[key]
                continue
            if self.dice.random() < 0.2:
                del parent[key]
            else:
                parent[key] = change_value(parent[key], self.dice)
            return f"field {path} {self.write('manifest.json', encode_fields(fields))}"

    def reformat(self) -> str:
        """Write the same manifest with other white space or another key order."""
        fields = json.loads(self.files["manifest.json"])
        how = self.dice.choice(
            [{}, {"indent": 2}, {"indent": 1, "sort_keys": True}, {"separators": (",", ":")}]
        )
        data = f"{json.dumps(fields, **how)} ".encode()
        return f"reformat {how} {self.write('manifest.json', data)}"


def encode_fields(fields: dict[str, Any]) -> bytes:
    """Encode fields the way a manifest is encoded, whether or not they are valid."""
    return json.dumps(fields, indent=1, ensure_ascii=False).encode() + b"\n"


def change_value(value: Any, dice: random.Random) -> Any:
    """Return another value of the same kind. Null and empty lists stay."""
    if isinstance(value, dict) and value:
        key = dice.choice(sorted(value))
        return {**value, key: change_value(value[key], dice)}
    by_kind: dict[type, Callable[[Any], Any]] = {
        bool: lambda flag: not flag,
        int: lambda number: number + dice.choice([-1, 1]),
        float: lambda number: number + 0.25 if number < 1 else number - 0.5,
        str: lambda text: text + "x" if dice.random() < 0.5 or not text else text[:-1],
        bytes: lambda data: data + b"x",
        list: lambda items: [change_value(items[0], dice), *items[1:]] if items else items,
    }
    return by_kind.get(type(value), lambda same: same)(value)


def finds_fault(run: Path, recorded: RecordedDigests | None = None) -> bool:
    """Return whether `verify` finds a difference, or the manifest is gone."""
    try:
        return bool(verify_run(str(run), recorded=recorded))
    except RunError:
        return not (run / "manifest.json").exists()


def test_a_thousand_single_mutations(finished, capsys):
    """`verify` finds each of a thousand changes, and nothing after they are undone."""
    mutator = Mutator(finished, seed=2026)
    kinds, unseen = Counter(), []
    for number in range(MUTATIONS):
        done = mutator.mutate()
        kinds[done.split()[0]] += 1
        if not finds_fault(finished):
            unseen.append(f"{number}: {done}")
        mutator.restore()
    assert verify_run(str(finished)) == []
    with capsys.disabled():
        by_kind = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
        print(f"\nverify caught {MUTATIONS - len(unseen)} of {MUTATIONS} mutations ({by_kind})")
    assert unseen == []
    assert min(kinds.values()) > 40


def reseal(run: Path, manifest: bytes, name: str, rows: int) -> None:
    """Write a sealed manifest for a changed file."""
    fields, data = json.loads(manifest), (run / name).read_bytes()
    for output in fields["outputs"]:
        if output["path"] == name:
            output |= {"sha256": digest_bytes(data), "bytes": len(data), "rows": rows}
    (run / "manifest.json").write_bytes(Manifest.model_validate(fields).seal().to_bytes())


def forge(mutator: Mutator, run: Path, name: str) -> int | None:
    """Change a file's rows; return the new number of rows, or None without a change."""
    if name in mutator.tables:
        table = mutator.change_table(name)
        if table.equals(mutator.tables[name]):
            return None
        pq.write_table(table, run / name, compression="zstd")
        return table.num_rows
    lines = mutator.edit_lines(name)
    (run / name).write_bytes(b"".join(lines))
    return None if lines == mutator.lines[name] else len(lines)


@pytest.mark.parametrize("folder", ["clean", "quarantine"])
def test_texts_of_resealed_lines_are_found(finished, folder):
    """A changed text or role contradicts the ledger's content digest."""
    mutator = Mutator(finished, seed=3)
    for name in (name for name in mutator.lines if name.startswith(f"{folder}/")):
        lines = mutator.lines[name]
        for row, line in enumerate(lines):
            for old, new in ((b"Question", b"Questiom"), (b"assistant", b"system"), (b".", b"!")):
                assert old in line
                changed = [*lines[:row], line.replace(old, new, 1), *lines[row + 1 :]]
                (finished / name).write_bytes(b"".join(changed))
                reseal(finished, mutator.files["manifest.json"], name, len(lines))
                record = f"row {row} isn't the record"
                assert verify_run(str(finished))[0].problem.startswith(record)
        mutator.restore()
    assert verify_run(str(finished)) == []


def test_forgeries_that_agree_with_themselves(finished, capsys):
    """A recorded digest reveals any resealed change."""
    mutator = Mutator(finished, seed=7)
    recorded = RecordedDigests(digest=json.loads(mutator.files["manifest.json"])["digest"])
    alone = Counter()
    for _ in range(200):
        name = mutator.dice.choice(sorted((*mutator.tables, *mutator.lines)))
        rows = forge(mutator, finished, name)
        if rows is not None:
            reseal(finished, mutator.files["manifest.json"], name, rows)
            assert finds_fault(finished, recorded), name
            alone[name.split("/")[0], finds_fault(finished)] += 1
        mutator.restore()
    for folder in ("ledger", "clean", "quarantine"):
        assert alone[folder, True] > 0
    assert alone["ledger", False] == 0
    with capsys.disabled():
        print(f"\nresealed, found without a recorded digest: {dict(sorted(alone.items()))}")
