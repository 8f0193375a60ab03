"""What commands that are asked often do not import: half a second each, or more."""

import subprocess
import sys
from pathlib import Path

NOT_NEEDED = (
    "dgl",
    "lightning",
    "torchmetrics",
    "matplotlib",
    "sklearn",
    "scipy.stats",
    "scipy.linalg",
    "scipy.special",
    "optuna",
)


def test_a_prediction_of_a_network_imports_what_it_needs_alone():
    model = Path(__file__).parent / "before" / "model"
    code = f"""
import sys
from dgl_moleblend.cli import main
main(["predict", {str(model)!r}, "-s", "CCO", "--quiet"], standalone_mode=False)
print([name for name in {NOT_NEEDED} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
