"""Presets' options, and the addresses on which a process listens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.engines.beam_options import combine_options
from pipelines.engines.interface import Engine
from pipelines.engines.launch import PRESETS

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 and its IPv6 form, in the kernel's hexadecimal notation."""


def preset_options(runner: str, given: Sequence[str] = (), **settings: Any) -> PipelineOptions:
    """Combine a preset's options with Beam options after `--`."""
    preset = PRESETS[runner](Engine(runner=runner, **settings))
    return PipelineOptions(combine_options(preset, given))


def listening_addresses(pid: int) -> set[str]:
    """Return a process's listening addresses in the kernel's hexadecimal notation."""
    inodes = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.exists()}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return {
        row[1].partition(":")[0]
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in inodes
    }
