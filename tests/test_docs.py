"""The documents are built, every link in them leads somewhere, and formulae are drawn without the network."""

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / ".ci" / "docs.py"


def test_documents(tmp_path):
    made = subprocess.run([sys.executable, DOCS, "--out", tmp_path], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    reference = (tmp_path / "dgl_moleblend.html").read_text(encoding="utf-8")
    for name in ("finetune", "LoadedModel.plot_parity", "MoleBlendLayer.forward", "RelationBatch"):
        assert f'id="{name}"' in reference, name
    assert "<math" in (tmp_path / "dgl_moleblend" / "predict" / "attribution.html").read_text(encoding="utf-8")
    assert "plot_atoms" in (tmp_path / "examples" / "finetune.html").read_text(encoding="utf-8")
    for page in tmp_path.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'(src|<link[^>]* href)="https?:', text), page  # nothing is fetched
        assert "MATHML" not in text, page


def test_a_broken_link_is_named(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#there">1</a><a href="b.html#not">2</a><a href="c.md">3</a>')
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1><a href="https://example.org">4</a><a href="#">5</a>')
    code = f"import runpy; docs = runpy.run_path({str(DOCS)!r}); from pathlib import Path;" \
           f"print('\\n'.join(docs['broken_links'](Path({str(tmp_path)!r}))))"  # fmt: skip
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.splitlines() == ["a.html: broken link b.html#not", "a.html: broken link c.md"]
