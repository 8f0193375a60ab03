"""Packed files: the same records as unpacked ones; what is damaged, or holds several files, is refused."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pytest
from molecule_files import ESOL, read, sdf, write

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.molecules import MoleculeReader
from dgl_moleblend.readers.records import Record


def zipped(content: bytes, name: str = "folder/inner.dat", *, beside: str | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.writestr("__MACOSX/._x", b"\0")  # as a Mac adds
        if beside is not None:
            archive.writestr(beside, content)
    return packed.getvalue()


def zstd(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
    ".zip": zipped,
}


def essence(records: list[Record]) -> list[tuple[object, ...]]:
    return [(r.row, r.line, r.id, r.smiles, r.structure, r.error) for r in records]


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.smi", "a.sdf", "a.parquet", "a.xlsx"])
def test_packing_changes_nothing(tmp_path, name, ending):
    path = tmp_path / name
    if name == "a.parquet":
        pd.DataFrame({"smiles": ["C", "CCO"]}).to_parquet(path)
    elif name == "a.xlsx":
        pd.DataFrame({"smiles": ["C", "CCO"]}).to_excel(path, index=False)
    else:
        path.write_text(sdf("C", "CCO") if name == "a.sdf" else "smiles\nC\nCCO\n")
    content = path.read_bytes()
    packed = zipped(content, name) if ending == ".zip" else PACK[ending](content)
    assert len(read(path)) == 2
    assert essence(read(write(tmp_path, name + ending, packed))) == essence(read(path))
    disguised = write(tmp_path, "b" + path.suffix, packed)
    assert essence(read(disguised)) == essence(read(path)), "packing is seen in the content, not in the name"


@pytest.mark.parametrize("ending", PACK)
def test_what_is_cut_off_is_an_error_after_the_rows_that_are_whole(tmp_path, ending):
    text = "smiles,y\n" + "".join(f"CCO,{k * 0.731:.9f}\n" for k in range(150_000))
    packed = PACK[ending](text.encode())
    path = write(tmp_path, f"a.csv{ending}", packed[: len(packed) * 9 // 10])
    records: list[Record] = []
    with pytest.raises(DataError, match="damaged or cut off") as error:
        records.extend(MoleculeReader(path))
    assert str(path) in str(error.value)
    assert len(records) < 150_000
    if ending != ".zip":  # whose list of files stands at its end
        assert records
        assert f"after line {len(records) + 1}" in str(error.value)


def test_an_archive_of_several_files_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"holds 2 files, and one is read: 'a.csv', 'b.csv'[\s\S]*unpack it"):
        MoleculeReader(write(tmp_path, "a.zip", zipped(ESOL.encode(), "a.csv", beside="b.csv")))
    with pytest.raises(DataError, match=r"holds 0 files"):
        MoleculeReader(write(tmp_path, "b.zip", zipped(b"", ".hidden")))


def test_what_lies_in_an_archive_tells_the_format(tmp_path):
    records = read(write(tmp_path, "a.zip", zipped(b"CCO ethanol, wet\n", "deep/a.smi")))
    assert [(r.smiles, r.id) for r in records] == [("CCO", "ethanol, wet")]
    with pytest.raises(DataError, match="a picture"):
        MoleculeReader(write(tmp_path, "b.zip", zipped(b"x", "a.png")))


def test_a_password_is_said(tmp_path):
    packed = bytearray(zipped(ESOL.encode(), "a.csv"))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + at] |= 1  # the mark of encryption
    with pytest.raises(DataError, match=r"'a.csv' in the archive cannot be unpacked: .*password"):
        MoleculeReader(write(tmp_path, "a.zip", bytes(packed)))


def test_an_archive_without_files(tmp_path):
    zipfile.ZipFile(tmp_path / "none.zip", "w").close()
    with pytest.raises(DataError, match="the archive holds 0 files, and one is read"):
        MoleculeReader(tmp_path / "none.zip")
