"""Damaged files of every kind: no crash, no hang, and every row that the reader sees is kept or rejected."""

import gzip
import os
import random
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem, RDConfig
from rdkit.Chem import AllChem

from dgl_moleblend.config import FeaturizerConfig
from dgl_moleblend.data.featurize import featurize_to_table
from dgl_moleblend.data.molecules import PipelineConfig
from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.pairing import PairedReader

ROUNDS = int(os.environ.get("MOLEBLEND_FUZZ_ROUNDS", "40"))
"""Damaged files per kind; more in a longer run."""
SEEDS = range(first := int(os.environ.get("MOLEBLEND_FUZZ_SEED", "0")), first + ROUNDS)
NCI = Path(RDConfig.RDDataDir, "NCI", "first_200.props.sdf")
SMILES = ["CCO", "c1ccccc1C(=O)O", "[Na+].[Cl-]", "C[C@H](N)C(=O)O", "F/C=C/F", "CC(C)(C)c1ccc(O)cc1", "O=S(=O)(O)O"]
SMILES.append("C" * 30)


def table_lines() -> list[bytes]:
    rows = [f'm{k},{smiles},{k % 2},{k / 7:.3f},"a note, with ""quotes"""' for k, smiles in enumerate(SMILES * 3)]
    return [line.encode() for line in ["name,smiles,active,y,note", *rows]]


def smi_lines() -> list[bytes]:
    return [f"{smiles} m{k}".encode() for k, smiles in enumerate(SMILES * 3)]


def sdf_lines() -> list[bytes]:
    if NCI.exists():
        lines = NCI.read_bytes().split(b"\n")
        ends = [k for k, line in enumerate(lines) if line.startswith(b"$$$$")]
        return lines[: ends[14] + 1]
    text = "".join(Chem.MolToMolBlock(Chem.MolFromSmiles(smiles)) + "$$$$\n" for smiles in SMILES)
    return text.encode().split(b"\n")


def embedded_sdf_lines() -> list[bytes]:
    text = ""
    for smiles in SMILES[:2] + SMILES[3:7]:
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=1)
        text += Chem.MolToMolBlock(mol) + "$$$$\n"
    return text.encode().split(b"\n")


def damage(lines: list[bytes], rng: random.Random) -> bytes:
    """Apply one to four of the accidents that happen to files."""
    lines = list(lines)
    ending = rng.choice([b"\n", b"\n", b"\r\n", b"\r"])
    for _ in range(rng.randint(1, 4)):
        k = rng.randrange(len(lines))
        line = bytearray(lines[k])
        place = rng.randint(0, len(line))
        accident = rng.randrange(14)
        if accident == 0:
            del lines[k]
        elif accident == 1:
            lines.insert(k, lines[rng.randrange(len(lines))])
        elif accident == 2:
            lines[k] = bytes(line[:place])
        elif accident == 3:
            line[place:place] = bytes([rng.randrange(256)])
        elif accident == 4:
            line[place:place] = b"\0"
        elif accident == 5:
            line[place:place] = rng.choice([b'"', b"'", b",", b"\t", b";", b" ", b"|", b"$$$$", b">", b"M  END", b"\r"])
        elif accident == 6:
            line[place:place] = bytes(rng.randrange(256) for _ in range(rng.randint(2, 40)))
        elif accident == 7:
            lines = lines[: k + 1]
        elif accident == 8:
            j = rng.randrange(len(lines))
            lines[k], lines[j] = lines[j], lines[k]
            continue
        elif accident == 9:
            line[place:place] = rng.choice([b"C", b"1", b"(", b"[", b"999999", b"-1"]) * rng.choice([1, 50, 3_000])
        elif accident == 10:
            line = bytearray(line.replace(b"0", rng.choice([b"9", b"n", b"nan", b"-", b"inf", b"1e30"])))
        elif accident == 11:
            line = bytearray("é漢\u202e".encode(rng.choice(["utf-8", "utf-16", "cp1252"]), "ignore")) + line
        elif accident == 12:
            lines.insert(k, b"")
        elif accident == 13:
            line = bytearray(bytes(line).swapcase())
        if accident in (3, 4, 5, 6, 9, 10, 11, 13) and k < len(lines):
            lines[k] = bytes(line)
        if not lines:
            lines = [b""]
    data = ending.join(lines)
    if rng.random() < 0.1:
        data = data[: rng.randrange(len(data) + 1)]
    if rng.random() < 0.1:
        data = rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b"]) + data
    if rng.random() < 0.15:
        data = gzip.compress(data)
        if rng.random() < 0.5:
            data = data[: rng.randrange(len(data) + 1)]
    return data


def check(path: Path, config: PipelineConfig, tasks: list[str], labels: Path | None = None) -> str:
    """Read a damaged file, perhaps with a table beside it; return what came of it."""
    arguments = (path,) if labels is None else (path, labels)
    kind = MoleculeReader if labels is None else PairedReader
    try:
        records = list(kind(*arguments, task_columns=tasks))
        table = featurize_to_table(kind(*arguments, task_columns=tasks), config)
    except DataError:
        return "refused"
    assert [record.row for record in records] == list(range(len(records)))
    lines = [record.line for record in records]
    if labels is None:  # or a line may be of either file
        assert lines == sorted(lines)
        assert len(set(lines)) == len(lines) or set(lines) == {-1}, "two records of one line"
    kept, rejected = table.rows.tolist(), table.rejects["row"].tolist()
    assert sorted(kept + rejected) == list(range(len(records)))
    unknown = table.rejects[table.rejects["reason"].str.contains(r"^[A-Za-z]*(?:Error|Exception): ", regex=True)]
    assert unknown.empty, unknown[["smiles", "reason"]].to_string()
    for sample in table:
        assert sample.line == records[sample.row].line
        if labels is not None:  # the SMILES and its label are of the table, the atoms of the structure
            elements = sorted(atom.GetAtomicNum() - 1 for atom in Chem.MolFromSmiles(sample.smiles).GetAtoms())
            assert sorted(sample.molecule.atom[:, 0].tolist()) == elements, "another molecule's label"
            assert sample.labels.tolist() == [len(sample.smiles)]
        assert sample.molecule.num_atoms > 0
        assert abs(sample.molecule.positions).max(initial=0) < 1e6
    return f"{len(kept)} kept, {len(rejected)} rejected"


@pytest.mark.parametrize(
    ("name", "make", "positions", "tasks"),
    [
        ("a.csv", table_lines, "none", ["active", "y"]),
        ("a.smi", smi_lines, "none", []),
        ("a.sdf", sdf_lines, "none", []),
        ("a.sdf", embedded_sdf_lines, "given", []),
        ("a.txt", table_lines, "none", []),
    ],
)
def test_damaged_files(tmp_path, name, make, positions, tasks):
    lines = make()
    config = PipelineConfig(FeaturizerConfig(positions), max_atoms=500)
    outcomes: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in SEEDS:
            data = damage(lines, random.Random(f"{name}{positions}{seed}"))
            path = tmp_path / name
            path.write_bytes(data)
            try:
                outcomes.add(check(path, config, tasks))
            except Exception as error:
                raise AssertionError(f"seed {seed}: {data[:2_000]!r}") from error
    assert len(outcomes) > 3, "damage that changes nothing tests nothing"


def test_structures_and_their_table_damaged(tmp_path):
    """Whatever is lost on either side, no molecule is given the label of another."""
    structures, labels = tmp_path / "a.sdf", tmp_path / "a.csv"
    smiles = SMILES[:2] + SMILES[3:7]
    lines = embedded_sdf_lines()
    rows = [b"smiles,gap", *(f"{text},{len(text)}".encode() for text in smiles)]
    outcomes: set[str] = set()
    for seed in SEEDS:
        rng = random.Random(seed)
        structures.write_bytes(damage(lines, rng))
        chosen = rng.sample(rows[1:], rng.randint(0, len(smiles))) if seed % 2 else rows[1:]
        labels.write_bytes(b"\n".join([rows[0], *chosen]))
        try:
            outcomes.add(check(structures, PipelineConfig(FeaturizerConfig("given"), max_atoms=500), ["gap"], labels))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert len(outcomes) > 3


def test_damaged_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    names = [f"m{k}" for k in range(80)]
    pd.DataFrame({"id": names, "smiles": SMILES * 10, "y": np.arange(80) / 7}).to_parquet(path)
    whole = path.read_bytes()
    outcomes: set[str] = set()
    for seed in SEEDS:
        rng = random.Random(seed)
        data = bytearray(whole[: rng.randrange(len(whole)) if rng.random() < 0.1 else None])
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        try:
            outcomes.add(check(path, PipelineConfig(), ["y"]))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
    assert {"refused", "80 kept, 0 rejected"} <= outcomes


def test_bytes_that_are_no_text(tmp_path):
    rng = random.Random(5)
    for suffix in ("csv", "smi", "sdf", "parquet", "dat"):
        for size in (1, 10, 1_000, 100_000):
            path = tmp_path / f"a.{suffix}"
            path.write_bytes(rng.randbytes(size))
            check(path, PipelineConfig(), [])
            path.write_bytes(bytes(size))
            check(path, PipelineConfig(), [])


def test_hostile_coordinates(tmp_path):
    """NaN, infinite and huge coordinates, and atoms on top of each other, are never kept."""
    block = Chem.MolToMolBlock(molecule := Chem.AddHs(Chem.MolFromSmiles("CCO")))
    AllChem.EmbedMolecule(molecule, randomSeed=1)
    good = Chem.MolToMolBlock(molecule)
    atoms = good.split("\n")[4:13]
    variants = {"good": good, "flat depiction": block}
    for text in ("       nan", "       inf", " 1e300    ", "999999.999"):
        variants[text] = good.replace(atoms[0][:10], text)
    variants["in one place"] = good.replace(atoms[1][:30], atoms[0][:30])
    variants["all zero"] = "\n".join(
        "    0.0000    0.0000    0.0000" + line[30:] if line in atoms else line for line in good.split("\n")
    )
    path = tmp_path / "a.sdf"
    path.write_text("".join(variant.rstrip("\n") + "\n$$$$\n" for variant in variants.values()))
    table = featurize_to_table(MoleculeReader(path), PipelineConfig(FeaturizerConfig("given")))
    assert table.rows.tolist() == [0]
    assert table.rejects["row"].tolist() == list(range(1, len(variants)))


def test_large_molecules(tmp_path):
    path = tmp_path / "a.smi"
    texts = {"wax": "C" * 5_000, "too large": "N" * 70_000, "open": "(" * 10_000, "rings": "C1" * 3_001, "one": "C"}
    path.write_text("".join(f"{smiles} {name}\n" for name, smiles in texts.items()))
    table = featurize_to_table(MoleculeReader(path), PipelineConfig())
    assert table.ids == ["wax", "one"]
    assert table.num_atoms.tolist() == [5_000, 1]
    assert table.rejects["stage"].tolist() == ["size", "parse", "parse"]
