"""Removal of files and folders on disks.

Network and user-space file systems keep a file that is deleted while a program has it open. Until
the program closes it, the file stays in its folder under another name, so the folder can't be
removed.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

DELETED = re.compile(r"\.(nfs|fuse_hidden|smbdelete|__smb|__afs)[0-9A-Za-z]{4,}")
"""A pattern for the names that NFS, FUSE, SMB and AFS give to deleted files that are still open."""


def is_deleted_name(name: str) -> bool:
    """Return whether a name marks a deleted file that a program still has open."""
    return DELETED.fullmatch(name) is not None


def remove(path: Path) -> None:
    """Delete a file, or a folder with its content. The target of a link isn't deleted.

    A folder is kept if it contains only deleted files that a program still has open.

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
    """Return whether a folder is missing, or has no files except deleted ones that are still open.

    Raises: OSError: a folder can't be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    if not folder.is_dir() or folder.is_symlink():
        return not os.path.lexists(folder)
    walked = os.walk(folder, onerror=refuse)
    return all(is_deleted_name(name) for _, _, names in walked for name in names)
