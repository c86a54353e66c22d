"""Documentation pages: their commands, and the output below each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

INDENT = "    "
PROMPT = "$ "
FILE_NAME = re.compile(r"# ([\w.-]+\.ya?ml)")
ANYTHING = "…"  # on a line of its own, it means any number of lines
END_OF_STEP = "@@ end of step "

# What differs between runs of the same command. Other characters must be equal.
VARYING = {
    "seconds": r"\d+\.\d s\b",
    "rates": r"[\d,]+ (?:rows|tokens)/s",
    "bank digest": r"(?<=bank )[0-9a-f]{12}",
    "ledger root": r"(?<=ledger root )[0-9a-f]{16}",
    "content digest": r"(?<=digest )[0-9a-f]{16}",
    "record id": r"\b[0-9a-f]{32}\b",
    "digest in a file name": r"(?<=part-\d{6}-)[0-9a-f]{12}",
    "date and time": r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(?::\d{2})?(?: UTC|Z)?",
}
# Lines that a run prints only if it is slow or has to fit.
PROGRESS = re.compile(r"(?:fitting: |fitting \d+ traits? |[\d,]+ of [\d,]+ rows, ).*")
SCORE = re.compile(r"(?<![\d.])[01]\.\d{3,4}(?!\d)")
SCORE_TOLERANCE = 0.001  # processors add floats in different orders


@dataclass
class Step:
    """A command on a page, and the shown lines."""

    line: int
    command: str
    shown: list[str] = field(default_factory=list)
    writes: bool = False  # the lines are those of a file that the command writes

    def script(self) -> str:
        """Return the step as shell code."""
        if not self.writes:
            return self.command
        return "\n".join([f"{self.command} <<'END OF FILE'", *self.shown, "END OF FILE"])


def read_steps(page: str) -> list[Step]:
    """Return the steps of a page's indented blocks, in order.

    A block that begins with `# name.yaml` is a file, and its step writes the file. A block without
    `$` isn't a step.
    """
    steps: list[Step] = []
    inside = False
    for number, line in enumerate(page.splitlines(), 1):
        text = line.removeprefix(INDENT)
        if line and text == line:
            inside = False
        elif line and not inside and (name := FILE_NAME.fullmatch(text)):
            steps.append(Step(number, f"cat > {name[1]}", writes=True))
            inside = True
        elif text.startswith(PROMPT):
            steps.append(Step(number, text.removeprefix(PROMPT)))
            inside = True
        elif inside:
            steps[-1].shown.append(text)
    return steps


def run_steps(
    steps: Sequence[Step], folder: Path, environment: dict[str, str]
) -> list[tuple[int, list[str]]]:
    """Run steps in one shell, and return each exit status and output."""
    script = "".join(f"{step.script()}\nprintf '\\n{END_OF_STEP}%s\\n' $?\n" for step in steps)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    parts = re.split(f"\n{END_OF_STEP}(\\d+)\n", done.stdout.decode())
    assert len(parts) == 2 * len(steps) + 1, done.stdout.decode()
    return [
        (int(status), output.splitlines())
        for output, status in zip(parts[0:-1:2], parts[1::2], strict=True)
    ]


def is_shown(shown: str, line: str) -> bool:
    """Return whether a line is as shown, apart from varying parts and scores' last digits."""
    scores, expected = SCORE.findall(line), SCORE.findall(shown)
    return SCORE.sub("", blank(line)) == SCORE.sub("", blank(shown)) and all(
        abs(float(a) - float(b)) <= SCORE_TOLERANCE for a, b in zip(scores, expected, strict=True)
    )


def blank(line: str) -> str:
    """Return a line without trailing space, with names for varying parts."""
    for name, pattern in VARYING.items():
        line = re.sub(pattern, f"<{name}>", line)
    return line.rstrip()


def find_difference(shown: Sequence[str], lines: Sequence[str]) -> str | None:
    """Return the first shown line that the output lacks, or None.

    Between two `…` lines, the shown lines must be consecutive. Blank lines at the ends and lines of
    progress don't count.
    """
    shown, rest = (
        strip_blank([line for line in part if not PROGRESS.fullmatch(line)])
        for part in (shown, lines)
    )
    chunks = split_at_anything(shown)
    for index, chunk in enumerate(chunks):
        last = max(len(rest) - len(chunk), 0)
        first = 0 if index == 0 or index < len(chunks) - 1 else last
        starts = range(first, (0 if index == 0 else last) + 1)
        start = max(starts, key=lambda at: count_equal(chunk, rest[at:]))
        equal = count_equal(chunk, rest[start:])
        if equal < len(chunk):
            return f"shown: {chunk[equal]!r}; instead: {rest[start + equal : start + equal + 1]}"
        rest = rest[start + len(chunk) :]
    return f"not shown: {rest[0]!r}" if rest else None


def count_equal(chunk: Sequence[str], lines: Sequence[str]) -> int:
    """Count the lines of a chunk that are as shown."""
    for index, shown in enumerate(chunk):
        if index >= len(lines) or not is_shown(shown, lines[index]):
            return index
    return len(chunk)


def split_at_anything(shown: Sequence[str]) -> list[list[str]]:
    """Return the chunks between the `…` lines."""
    chunks: list[list[str]] = [[]]
    for line in shown:
        if line.strip() == ANYTHING:
            chunks.append([])
        else:
            chunks[-1].append(line)
    return chunks


def strip_blank(lines: Sequence[str]) -> list[str]:
    """Remove blank lines from the start and the end."""
    filled = [index for index, line in enumerate(lines) if line.strip()]
    return list(lines[filled[0] : filled[-1] + 1]) if filled else []
