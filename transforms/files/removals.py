"""Removal of files and folders on disks.

Network and user-space file systems rename a file that is deleted while a program has it open. The
renamed file stays in its folder until the program closes it, and the folder can't be removed.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

DELETED = re.compile(r"\.(nfs|fuse_hidden|smbdelete|__smb|__afs)[0-9A-Za-z]{4,}")
"""The names that NFS, FUSE, SMB and AFS give to deleted files that are still open."""


def is_deleted_name(name: str) -> bool:
    """Return whether a name marks a deleted file that is still open."""
    return DELETED.fullmatch(name) is not None


def remove(path: Path) -> None:
    """Delete a file, or a folder with its content.

    A link is deleted without its target. A folder stays if it holds only deleted files that are
    still open.

    Raises: OSError: the disk refuses to delete something; everything else has been deleted.
    """
    refused: list[OSError] = []

    def keep(_function: Any, _path: str, info: Any) -> None:
        refused.append(info[1])

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=keep)
    else:
        path.unlink()
    if refused and not is_emptied(path):
        raise refused[0]


def is_emptied(folder: Path) -> bool:
    """Return whether a folder is missing, or holds only deleted files that are still open.

    Raises: OSError: a folder can't be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    if not folder.is_dir() or folder.is_symlink():
        return not os.path.lexists(folder)
    walked = os.walk(folder, onerror=refuse)
    return all(is_deleted_name(name) for _, _, names in walked for name in names)
