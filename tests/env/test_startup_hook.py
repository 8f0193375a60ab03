"""The start-up hook: written whole, read by Python, harmless without the package, taken out again."""

import subprocess
import sys

import pytest

from dgl_moleblend.env import startup_hook


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders in place of this Python's own, the first of them absent."""
    monkeypatch.setattr(startup_hook, "folders", lambda: [tmp_path / "absent", tmp_path])
    return tmp_path


def start_python(folder, *options: str) -> str:
    """Have a Python read the .pth files of `folder`; return the modules it then knows."""
    code = f"import site, sys; site.addsitedir({str(folder)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_hook_imports_the_package_and_nothing_heavy(folders):
    assert startup_hook.write() == folders / startup_hook.FILE_NAME
    modules = start_python(folders)
    assert "dgl_moleblend.env.compat" in modules
    assert not {"torch", "dgl", "numpy"} & set(modules)


def test_hook_is_silent_where_the_package_has_gone(folders):
    startup_hook.write()
    assert "dgl_moleblend" not in start_python(folders, "-I", "-S")


def test_hook_is_written_once_and_removed(folders):
    startup_hook.write()
    startup_hook.write()
    assert [path.name for path in folders.iterdir()] == [startup_hook.FILE_NAME]
    assert startup_hook.find() == startup_hook.remove() == [folders / startup_hook.FILE_NAME]
    assert startup_hook.find() == startup_hook.remove() == []


def test_hook_without_a_folder_to_write_to_says_what_to_do(folders, monkeypatch):
    monkeypatch.setattr(startup_hook.os, "access", lambda folder, mode: False)
    with pytest.raises(
        PermissionError, match=r"cannot be written\n  where: .*absent(.|\n)*fix:   work in an environment"
    ):
        startup_hook.write()
    assert list(folders.iterdir()) == []


def test_folders_are_those_that_this_python_reads():
    assert startup_hook.folders()[0].samefile(next(path for path in sys.path if path.endswith("site-packages")))
