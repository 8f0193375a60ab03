"""Files of molecules in several formats, and the records that are read from them."""

from pathlib import Path

from rdkit import Chem

from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.records import Record

ESOL = "Compound ID,smiles,logS,note\nethanol,CCO,1.1,x\nbenzene, c1ccccc1 ,-1.64,\nmethane,C,,y\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: object, **options: object) -> list[Record]:
    return list(MoleculeReader(path, **options))  # type: ignore[arg-type]


def sdf(*smiles: str, properties: dict[str, str] | None = None) -> str:
    out = ""
    for k, text in enumerate(smiles):
        mol = Chem.MolFromSmiles(text)
        mol.SetProp("_Name", f"mol{k}")
        out += Chem.MolToMolBlock(mol)
        for name, value in (properties or {}).items():
            out += f">  <{name}>  ({k})\n{value}\n\n"
        out += "$$$$\n"
    return out
