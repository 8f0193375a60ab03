"""Every file of a model and of a data set, empty, cut or exchanged: refused by name in every command that reads it.

A command may also not need the file; then it says what it says of the whole folder.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
from commands import QUICK, SMILES, run, succeed

DAMAGES: dict[str, Callable[[Path, Path], Any]] = {
    "empty": lambda path, other: path.write_bytes(b""),
    "cut": lambda path, other: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "exchanged": lambda path, other: shutil.copy(other, path),
}
PREDICT = ("predict", "{folder}", "-s", "CCO", "-s", "c1ccccc1", "--quiet", "--workers", "0")
EMBED = ("embed", "{folder}", "{few}", "-o", "{out}.parquet", "--quiet", "--workers", "0")
TUNE = ("finetune", "{table}", "--tasks", "size", "--encoder", "{folder}", "--head", "network", "-o", "{out}",
        "--epochs", "1", "--quiet", "--workers", "0")  # fmt: skip


class Made(NamedTuple):
    """Two folders of one kind, from other data, and what reads them.

    Parameters
    ----------
    folder, other : Path
    needed : dict of str to tuple
        Each command that reads the folder, with the files that it cannot do without.
    """

    folder: Path
    other: Path
    needed: dict[tuple[str, ...], tuple[str, ...]]


def table(path: Path, step: int) -> Path:
    pd.DataFrame({"smiles": SMILES[::step], "size": [len(s) / step for s in SMILES[::step]]}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    table(folder / "a.csv", 1), table(folder / "b.csv", 2), table(folder / "few.csv", 15)
    return folder


def twice(place: Path, kind: str, *command: object, needed: dict[tuple[str, ...], tuple[str, ...]]) -> Made:
    for seed, letter in enumerate("ab"):
        filled = [str(part).format(table=place / f"{letter}.csv") for part in command]
        succeed(*filled, "-o", place / f"{kind}-{letter}", "--seed", seed)
    return Made(place / f"{kind}-a", place / f"{kind}-b", needed)


MODEL = ("config.json", "model.safetensors")


@pytest.fixture(scope="module")
def network(place):
    command = ("finetune", "{table}", "--tasks", "size", "--head", "network", "--split", "random", *QUICK)
    known = (*MODEL, "calibration.json", "training_set.npz")
    return twice(place, "network", *command, needed={PREDICT: known, EMBED: MODEL, TUNE: MODEL})


@pytest.fixture(scope="module")
def comparison(place):
    command = ("finetune", "{table}", "--tasks", "size", "--head", "kernel", "--split", "random",
               "--features", "morgan", "--quiet", "--workers", "0")  # fmt: skip
    known = ("ensemble.json", "calibration.json", "training_set.npz", "kernel/config.json", "kernel/model.safetensors")
    return twice(place, "comparison", *command, needed={PREDICT: known})


@pytest.fixture(scope="module")
def pretrained(place):
    return twice(place, "pretrained", "pretrain", "{table}", *QUICK, needed={EMBED: MODEL, TUNE: MODEL})


@pytest.fixture(scope="module")
def store(place, network):
    files = ("manifest.json", "rejects.csv", "shard-00000.arrow")
    commands = {
        ("predict", str(network.folder), "{folder}", "--quiet"): files,
        ("embed", str(network.folder), "{folder}", "-o", "{out}.parquet", "--quiet"): files,
        ("inspect", "{folder}"): files,
        ("finetune", "{folder}", "-o", "{out}", *QUICK, "--head", "network"): files,
        ("pretrain", "{folder}", "-o", "{out}", *QUICK): files,
    }
    command = ("featurize", "{table}", "--tasks", "size", "--quiet", "--workers", "0")
    return twice(place, "store", *command, needed=commands)


def ask(command: tuple[str, ...], place: Path, folder: Path) -> tuple[int, str]:
    """Run a command; its exit code, and all that it said and wrote."""
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    Path(f"{out}.parquet").unlink(missing_ok=True)
    result = run(
        *[part.format(folder=folder, out=out, table=place / "a.csv", few=place / "few.csv") for part in command]
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
    written = str(pd.read_parquet(f"{out}.parquet").to_dict()) if Path(f"{out}.parquet").exists() else ""
    return result.exit_code, result.output.replace(str(folder), "FOLDER") + written


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["network", "comparison", "pretrained", "store"])
def test_a_damaged_file_is_named_by_whoever_reads_it(kind, damage, request, place, tmp_path):
    made: Made = request.getfixturevalue(kind)
    whole: dict[tuple[str, ...], tuple[int, str]] = {}
    files = sorted(path.relative_to(made.folder) for path in made.folder.rglob("*") if path.is_file())
    files = [file for file in files if file.suffix in (".json", ".safetensors", ".csv", ".npz", ".arrow")
             and file.parts[0] != "logs"]  # fmt: skip
    assert {name for names in made.needed.values() for name in names} <= {str(file) for file in files}
    for file in files:
        folder = tmp_path / "copy"
        shutil.copytree(made.folder, folder)
        DAMAGES[damage](folder / file, made.other / file)
        differs = (folder / file).read_bytes() != (made.folder / file).read_bytes()
        for command, needed in made.needed.items():
            if command[0] in ("finetune", "pretrain") and str(file) not in (*needed, "run.json"):
                continue  # not read; and training takes long
            code, said = ask(command, place, folder)
            if code:
                assert file.name in said, (command, file, said)
                assert "fix:" in said, (command, file, said)
            else:
                assert not differs or str(file) not in needed, (command, file, said)
                if command[0] not in ("finetune", "pretrain"):  # these tell what they did at length
                    if command not in whole:
                        whole[command] = ask(command, place, made.folder)
                    assert (code, said) == whole[command], (command, file)
        shutil.rmtree(folder)
