"""Check that Python finds congener's own packages.

Other packages may share their names.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from congener import import_path

PACKAGES = ("schemas", "classifiers", "transforms", "pipelines")
INSTALL_FOLDER = Path(import_path.INSTALL_FOLDER)
"""The folder that congener is installed in."""


def require_own_packages() -> None:
    """Check that congener's packages come from congener's own folder.

    Raises: ImportError: Python finds one of the packages in a different folder or distribution, or
    not at all. The one-line message names the package and says what to do.
    """
    for name in PACKAGES:
        folder = find_package(name)
        if folder is None:
            raise ImportError(
                f"congener is incomplete: it has no package {name!r}; install it again"
            )
        if folder.parent != INSTALL_FOLDER:
            raise ImportError(
                f"congener needs its own package {name!r} in {INSTALL_FOLDER}, but Python finds "
                f"the one in {folder}: rename that folder, or start Python in a different folder"
            )


def find_package(name: str) -> Path | None:
    """Return the folder that Python would import a package from, or None."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module was put into sys.modules by hand
        spec = None
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    found = folders[0] if folders else spec.origin or ""
    return Path(found).resolve()
