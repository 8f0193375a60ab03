"""Errors that say what was wrong, where, and what to do about it."""

import copyreg
from typing import Any


class MoleBlendError(Exception):
    """Base of every error that this package raises on purpose.

    Parameters
    ----------
    what : str
        What was wrong, one line, with the offending value.
    where : str, optional
        File and line, list index, or molecule and atom.
    fix : str, optional
        What the reader can do.

    Examples
    --------
    >>> print(MoleBlendError("the file is empty", where="esol.csv", fix="export it again"))
    the file is empty
      where: esol.csv
      fix:   export it again
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:  # keyword arguments survive the way back from a worker process
        return copyreg.__newobj__, (type(self), self.what), self.__dict__  # type: ignore[attr-defined]


class MoleculeError(MoleBlendError, ValueError):
    """A molecule cannot be read, featurized or given positions."""


class DataError(MoleBlendError, ValueError):
    """A file, a column, or a data set on disk is not what was asked for."""


class ConfigError(MoleBlendError, ValueError):
    """A setting has a value that is not allowed, or there is no such setting."""


class SchemaError(MoleBlendError, ValueError):
    """A graph or batch lacks a field of the schema, holds it with another shape or dtype, or cannot be true."""


class CheckpointError(MoleBlendError, ValueError):
    """Stored weights or their configuration do not fit the model."""
