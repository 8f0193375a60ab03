"""What a command found, as text for people or as JSON for programs."""

import json
import math
from typing import Any

import click

option = click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "jsonl"]),
    default="text",
    show_default=True,
    help="text to be read; or the same as JSON, or as JSON on one line, on standard output.",
)


def echo_json(document: dict[str, Any], form: str) -> None:
    """Write an object to standard output; what is no finite number is null."""
    click.echo(json.dumps(_plain(document), indent=2 if form == "json" else None, ensure_ascii=False))


def _plain(value: Any) -> Any:
    """Return lists, dicts, texts and numbers of Python."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):  # NumPy's and torch's
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
