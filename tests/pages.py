"""Pages as a browser reads them: their elements and text, and what they ask for."""

import html.parser
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd

EVIL = "<img src=x onerror=alert(1)>\"'&</code><script>alert(2)</script>"
VOID = {"meta", "link", "img", "br", "input"}


class Page(html.parser.HTMLParser):
    """The elements and the text of a page; every element that is opened is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def table(self, name: str) -> pd.DataFrame:
        """The cells of the table with this id, as text."""
        (text,) = re.findall(rf'<table id="{name}">.*?</table>', self.source, re.DOTALL)
        rows = ElementTree.fromstring(text).iter("tr")
        return pd.DataFrame([["".join(cell.itertext()) for cell in row] for row in rows])


def visit(path: Path, folder: Path, *options: str) -> tuple[str, list[str], set[str]]:
    """Open a page in a browser that reaches nothing: its elements, what it says on the console, what it asks for."""
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'user'}",
                 "--enable-logging=stderr", f"--log-net-log={folder / 'net.json'}", "--virtual-time-budget=2000",
                 "--window-size=400,900", *options, "--dump-dom", path.as_uri()]  # fmt: skip
    done = subprocess.run(["chromium", *arguments], capture_output=True, text=True, timeout=120, check=True)
    log = (folder / "net.json").read_text()
    asked = set(re.findall(r'site=file://;[^"]*","url":"([^"]*)"', log))  # others are the browser's own
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line], asked
