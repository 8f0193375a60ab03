"""Build the documents: the reference from docstrings (pdoc), guides from the Markdown files and notebooks; check links.

    python .ci/docs.py [--out build/docs]

Formulae become MathML, so that pages need no network. A link to a page, file or heading that is not there is an error.
"""

import argparse
import html
import re
import shutil
import sys
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
MODULES = [
    "dgl_moleblend", "dgl_moleblend.sklearn", "dgl_moleblend.config", "dgl_moleblend.errors", "dgl_moleblend.schema",
    "dgl_moleblend.shipped", "dgl_moleblend.data.splits", "dgl_moleblend.data.given_splits", "dgl_moleblend.data.folds",
    "dgl_moleblend.readers.molecules", "dgl_moleblend.readers.published", "dgl_moleblend.nn.relation_bias",
    "dgl_moleblend.nn.encoder", "dgl_moleblend.models.heads", "dgl_moleblend.models.objectives",
    "dgl_moleblend.models.reference", "dgl_moleblend.report.figures", "dgl_moleblend.train.finetune",
    "dgl_moleblend.train.auto", "dgl_moleblend.train.pretrain",
]  # fmt: skip
GUIDES = {
    "README.md": "Start",
    "examples/GUIDE.md": "Guide",
    "METHOD.md": "Method",
    "examples/embeddings.ipynb": "Embeddings",
    "examples/finetune.ipynb": "Fine-tuning",
    "examples/layer.ipynb": "The layer",
    "examples/README.md": "Examples",
    "CONTRIBUTING.md": "Contributing",
    "CHANGELOG.md": "Changelog",
}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - dgl-moleblend</title><style>
body {{ font: 16px/1.55 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1rem; color: #212529 }}
nav {{ border-bottom: 1px solid #ccc; padding-bottom: .5rem }} nav a {{ margin-right: 1rem }}
pre {{ background: #f5f6f7; padding: .7rem; overflow-x: auto }} code {{ font-size: 90% }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
td, th {{ border: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top }}
img {{ max-width: 100% }}
</style></head><body><nav>{nav}</nav>{body}</body></html>
"""


def main() -> None:
    """Build everything, then check every link."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    build_reference(out)
    build_guides(out)
    if broken := broken_links(out):
        sys.exit("\n".join(broken))
    print(f"{sum(1 for _ in out.rglob('*.html'))} pages: {out / 'index.html'}")


def build_reference(out: Path) -> None:
    """Render docstrings with pdoc; formulae are put aside while they are Markdown, and come back as MathML."""
    import pdoc
    from latex2mathml.converter import convert as to_mathml

    import dgl_moleblend  # noqa: F401 - before dgl, which some pages import

    formulae: list[str] = []

    def keep(tex: str, display: str) -> str:
        formulae.append(to_mathml(tex.replace("\n", " ").strip(), display=display))
        return f"MATHML{len(formulae) - 1}MATHML"

    def convert(docstring: str, *rest: object) -> str:
        docstring = re.sub(r":math:`([^`]+)`", lambda found: keep(found[1], "inline"), docstring)
        docstring = re.sub(
            r"^( *)\.\. math::((?: .*)?(?:\n(?:\1 +\S.*| *$))*)",
            lambda found: f"{found[1]}{keep(found[2], 'block')}\n", docstring, flags=re.MULTILINE,
        )  # fmt: skip
        return plain(docstring, *rest)

    plain, pdoc.docstrings.convert = pdoc.docstrings.convert, convert
    pdoc.render.configure(docformat="numpy", footer_text="dgl-moleblend")
    pdoc.pdoc(*MODULES, output_directory=out)
    for page in (*out.rglob("*.html"), out / "search.js"):
        text = page.read_text(encoding="utf-8")
        in_page = [""] * len(formulae) if page.suffix == ".js" else formulae  # in a script a tag would be a fault
        parts = re.split(r"MATHML(\d+)MATHML", text)  # text, number, text, ..
        parts[1::2] = [in_page[int(number)] for number in parts[1::2]]
        page.write_text("".join(parts), encoding="utf-8")


def build_guides(out: Path) -> None:
    """Render Markdown files and notebooks; files that they link to are laid beside them."""
    import markdown2
    import nbformat

    for name in GUIDES:
        source = ROOT / name
        if source.suffix == ".ipynb":
            cells = nbformat.read(source, as_version=4).cells
            text = "\n\n".join(c.source if c.cell_type == "markdown" else f"```python\n{c.source}\n```" for c in cells)
        else:
            text = source.read_text(encoding="utf-8")
        body = markdown2.markdown(
            text, extras=["tables", "fenced-code-blocks", "header-ids", "cuddled-lists", "code-friendly"]
        )
        body = re.sub(r'(href|src)="([^"#:]+)(#[^"]*)?"', partial(_link, source, out), body)
        page = out / _page(name)
        page.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * name.count("/")
        nav = "".join(f'<a href="{up}{_page(other)}">{title}</a>' for other, title in GUIDES.items())
        nav += f'<a href="{up}dgl_moleblend.html">Reference</a>'
        page.write_text(PAGE.format(title=html.escape(GUIDES[name]), nav=nav, body=body), encoding="utf-8")


def _page(name: str) -> str:
    return "index.html" if name == "README.md" else str(Path(name).with_suffix(".html"))


def _link(source: Path, out: Path, found: re.Match[str]) -> str:
    """Return a link of a guide as the built page has it; a file of the repository is copied to where it points."""
    target, fragment = found[2], found[3] or ""
    path = (source.parent / unquote(target)).resolve()
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    if name in GUIDES:
        target = "../" * (len(source.relative_to(ROOT).parts) - 1) + _page(name)
    elif path.is_file():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, out / name)
    return f'{found[1]}="{target}{fragment}"'


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            elif name in ("id", "name") and value:
                self.ids.add(value)


def broken_links(out: Path) -> list[str]:
    """Return a line for each link to a page, file or heading that is not there."""
    pages: dict[Path, _Links] = {}
    for page in sorted(out.rglob("*.html")):
        pages[page.resolve()] = _Links()
        pages[page.resolve()].feed(page.read_text(encoding="utf-8"))
    broken = []
    for page, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target /= "index.html"
            lacks = parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids
            if not target.is_file() or lacks:
                broken.append(f"{page.relative_to(out.resolve())}: broken link {link}")
    return broken


if __name__ == "__main__":
    main()
