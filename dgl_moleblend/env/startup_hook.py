"""A line in site-packages that has every Python of this environment import `dgl_moleblend` when it starts.

With it, scripts that never heard of this package can ``import dgl``. It is written on request only.
"""

import os
import site
import sysconfig
import tempfile
from pathlib import Path

FILE_NAME = "dgl_moleblend_startup.pth"
#: Python runs lines of .pth files that begin with import. If the package has gone, nothing happens.
CONTENT = 'import sys; exec("try:\\n    import dgl_moleblend\\nexcept Exception:\\n    pass")\n'


def folders() -> list[Path]:
    """Folders whose .pth files this Python reads when it starts; the environment's own comes first."""
    user = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [Path(folder) for folder in dict.fromkeys([sysconfig.get_path("purelib"), *site.getsitepackages(), *user])]


def find() -> list[Path]:
    """Return the hooks that are in place."""
    return [folder / FILE_NAME for folder in folders() if (folder / FILE_NAME).is_file()]


def write() -> Path:
    """Write the hook, whole or not at all, into the first of `folders` that can be written to.

    Raises
    ------
    PermissionError
        If there is none.
    """
    for folder in folders():
        if folder.is_dir() and os.access(folder, os.W_OK):
            break
    else:
        raise PermissionError(
            "the start-up hook cannot be written\n"
            f"  where: {', '.join(map(str, folders()))}\n"
            "  fix:   work in an environment of your own (python -m venv), or run this as the owner of a folder"
        )
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False) as file:
        file.write(CONTENT)
    os.chmod(file.name, 0o644)  # a temporary file is its owner's alone
    os.replace(file.name, folder / FILE_NAME)
    return folder / FILE_NAME


def remove() -> list[Path]:
    """Take the hook out; return the files that were removed."""
    hooks = find()
    for hook in hooks:
        hook.unlink()
    return hooks
