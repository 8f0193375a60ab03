"""What a caller says of files that they do not say themselves."""

from dataclasses import dataclass

from dgl_moleblend.errors import DataError
from dgl_moleblend.readers.formats import FORMATS


@dataclass(frozen=True)
class FileOptions:
    """How files are to be read; nothing said, they are looked at.

    Parameters
    ----------
    input_format : str, optional
        One of `FORMATS`; by default known from the content, else from the name.
    encoding : str, optional
        Of text; by default UTF-8, or UTF-16 and UTF-32 where the first bytes say so.
    sheet : str, optional
        Of an Excel workbook; by default the first.
    decimal : {".", ","}, optional
        Decimal mark of labels; by default a comma in columns all of whose values say so.
    charge : int, optional
        Total charge of the molecules of XYZ and PDB files; by default as each says, else 0.

    Raises
    ------
    DataError
        If a value is not allowed.
    """

    input_format: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    decimal: str | None = None
    charge: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("input_format", FORMATS), ("decimal", (".", ","))):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise DataError(f"{name}={value!r} is not allowed", fix=f"one of {', '.join(map(repr, allowed))}")

    def arguments(self) -> dict[str, object]:
        """Return what decides which records there are, in plain values; what older stores did not know, if given."""
        newer = {"sheet": self.sheet, "decimal": self.decimal, "charge": self.charge}
        return {"input_format": self.input_format, "encoding": self.encoding,
                **{name: value for name, value in newer.items() if value is not None}}  # fmt: skip
