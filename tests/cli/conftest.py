"""A small table of real molecules, and models that the commands themselves made of it."""

from pathlib import Path

import pytest
from commands import BAD_ROW, QUICK, SMILES, succeed


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """id, smiles, size (carbons and more), ring (0 or 1): 30 molecules and one row that is none."""
    rows = [f"m{k},{s},{len(s) / 2},{int('1' in s)}" for k, s in enumerate(SMILES)]
    rows.insert(BAD_ROW, "bad,C1CC,3,1")
    rows[BAD_ROW + 1] = rows[BAD_ROW + 1].rsplit(",", 2)[0] + ",,"
    path = tmp_path_factory.mktemp("table") / "molecules.csv"
    path.write_text("id,smiles,size,ring\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def pretrained(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model pretrained with embedded positions."""
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    succeed("pretrain", table, "--positions", "embed", *QUICK, "-o", folder)
    return folder


@pytest.fixture(scope="session")
def model(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model fine-tuned to `size`."""
    folder = tmp_path_factory.mktemp("models") / "model"
    succeed("finetune", table, "--tasks", "size", "--split", "random", *QUICK, "-o", folder)
    return folder
