"""The `congener` command, also as `python -m congener`."""

from __future__ import annotations

import sys

from congener.origins import leave_out_current_folder, require_own_packages


def main() -> None:
    """Run the command line with congener's own packages."""
    leave_out_current_folder()
    try:
        require_own_packages()
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    from pipelines.cli.main import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
