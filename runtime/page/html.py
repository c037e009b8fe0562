"""One HTML file from the page's data and the files in `assets/`: it fetches nothing and runs only its own script.

Names in the data come from strangers. JSON is escaped so that nothing in it can end its element, the script puts text
into the page as text only, and the page's own policy allows no script and no style but the two whose hashes it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from string import Template
from typing import Any
from xml.sax.saxutils import escape

from runtime.text import safe

ASSETS = Path(__file__).parent / "assets"
# In the order in which they build on one another.
SCRIPTS = (
    "dom.js",
    "pack.js",
    "colours.js",
    "wafer.js",
    "tracing.js",
    "views.js",
    "map.js",
    "draw.js",
    "legend.js",
    "summary.js",
    "detail.js",
    "core.js",
    "search.js",
    "table.js",
    "pipeline.js",
    "passes.js",
    "frame.js",
    "report.js",
    "changes.js",
    "difference.js",
    "main.js",
)


def report_html(data: dict[str, Any]) -> str:
    """The page of one image; data: `runtime.page.data.page_data`."""
    return _page({"kind": "report", "report": data}, f"{data['file']}: wsec report")


def difference_html(old: dict[str, Any], new: dict[str, Any], difference: dict[str, Any]) -> str:
    """The page of two images side by side; difference: `runtime.page.compare.compare`."""
    title = f"{old['file']} and {new['file']}: wsec report"
    return _page({"kind": "difference", "old": old, "new": new, "difference": difference}, title)


def _page(data: dict[str, Any], title: str) -> str:
    style = _asset("page.css")
    # One scope of its own: names like `find` belong to the browser outside.
    script = '(() => {\n"use strict";\n' + "\n".join(map(_asset, SCRIPTS)) + "})();\n"
    return Template(_asset("page.html")).substitute(
        title=escape(safe(title)),
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}",
        style=style,
        script=script,
        data=embedded(data),
    )


def embedded(data: object) -> str:
    """JSON that may stand inside a script element: pure ASCII without `<`, so neither `</script` nor `<!--` occurs."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
