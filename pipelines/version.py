"""The versions of congener and of the packages that affect a run's bytes."""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

VERSION = "0.1.0"

COMMIT_DIGITS = 12
"""How many digits of a commit are shown."""

GIT_SECONDS = 5
"""How many seconds git has to name a checkout's commit."""

PACKAGES = (
    "apache-beam",
    "faiss-cpu",
    "faiss-gpu",
    "google-re2",
    "numpy",
    "orjson",
    "pyarrow",
    "pyyaml",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
    "zstandard",
)

INTERPRETER = {
    "python": f"{sys.version_info.major}.{sys.version_info.minor}",
    "zlib": zlib.ZLIB_RUNTIME_VERSION,
}
"""The versions that decide how text is normalised (Unicode's tables) and how gzip is written."""


def find_package_versions() -> dict[str, str]:
    """Return the versions of the installed packages in `PACKAGES`."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


@cache
def name_code() -> str:
    """Return the version, with the commit if known, as in `0.1.0+06723eb8a1c2`."""
    commit, _, changed = (find_commit() or "").partition("-")
    local = "-".join(filter(None, (commit[:COMMIT_DIGITS], changed)))
    return f"{VERSION}+{local}" if local else VERSION


def find_commit() -> str | None:
    """Return the commit of the code, or None.

    The commit of a changed checkout ends in `-dirty`. A package that was installed from a
    repository records its commit (PEP 610). Git knows a checkout's commit.
    """
    with suppress(metadata.PackageNotFoundError, ValueError, AttributeError):
        origin = json.loads(metadata.distribution("congener").read_text("direct_url.json") or "{}")
        if commit := origin.get("vcs_info", {}).get("commit_id"):
            return str(commit)
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    words = [
        "git",
        "-C",
        str(root),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        return subprocess.run(  # noqa: S603 - fixed words
            words, capture_output=True, text=True, check=True, timeout=GIT_SECONDS
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
