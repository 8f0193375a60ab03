"""Checks every call of the package against its annotations, shapes included.

    pytest --jaxtyping-packages=dgl_moleblend,typecheck.check

beartype cannot know what `Self` means on a method that it is given alone, so that one annotation is let pass; and an
int will do for a float, as everywhere in Python.
"""

from typing import Any

import pytest
from beartype import BeartypeConf, FrozenDict, beartype
from jaxtyping import TypeCheckError
from typing_extensions import Self

check = beartype(conf=BeartypeConf(hint_overrides=FrozenDict({Self: Any}), is_pep484_tower=True))


def refused(error: type[Exception], match: str) -> pytest.RaisesExc:
    """Expect the package's own error for arguments that annotations forbid, or the checker's where it runs."""
    return pytest.raises((error, TypeCheckError), match=f"{match}|Type-check error")
