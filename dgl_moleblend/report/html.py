"""Pages that stand alone: pictures within, one script that a page knows by its hash, and nothing from outside."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from dgl_moleblend.files import write_atomically
from dgl_moleblend.report import drawings, figures
from dgl_moleblend.report.words import number, score_text

_TEMPLATES = Path(__file__).parent / "templates"
_NAMED = 3  # so many of many properties are named in a title


@dataclass(frozen=True)
class Picture:
    """A picture within a page.

    Parameters
    ----------
    svg : bytes
    alt : str
        What it shows, for those who do not see it.
    """

    svg: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The picture as an address that holds it: within an image element, nothing in it can run."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()

    @classmethod
    def of(cls, figure: Figure, alt: str) -> "Picture":
        """Turn a figure of matplotlib's into one."""
        return cls(figures.to_svg(figure), alt)

    @classmethod
    def of_molecule(cls, smiles: str, width: int = 280, height: int = 200) -> "Picture | None":
        """Draw a structure; None where it cannot be drawn."""
        svg = drawings.molecule_svg(smiles, width, height)
        return None if svg is None else cls(svg, f"structure of {smiles}")


def render(template: str, **values: Any) -> str:
    """Fill in a template; every text that is filled in stays text.

    Parameters
    ----------
    template : str
        A file of `templates/` that extends its frame.
    values
        What it names.
    """
    script = (_TEMPLATES / "script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    own = {"script": Markup(script), "script_hash": digest, "style": Markup(style)}
    return _environment().get_template(template).render(**own, **values)


def write(path: Path, template: str, **values: Any) -> Path:
    """Fill in a template, see `render`, and write the page, whole or not at all; return its path."""
    page = render(template, **values)
    write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": "{:,}".format, "score": score_text}
    return environment


def title_of(tasks: "list[str] | tuple[str, ...]") -> str:
    """Name the properties of a page in a line.

    Examples
    --------
    >>> title_of(["expt"]), title_of(["a", "b", "c", "d", "e"])
    ('expt', '5 tasks: a, b, c, …')
    """
    return ", ".join(tasks) if len(tasks) <= _NAMED else f"{len(tasks)} tasks: {', '.join(tasks[:_NAMED])}, …"
