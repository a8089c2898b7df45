"""Drawings as Markdown, CSV, LaTeX, HTML and JSON. Names are hostile text: all is escaped."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from harness.codec import plain
from leaderboards.board import Drawing
from leaderboards.sheets import Sheet
from leaderboards.text import csv_cell, latex, markdown, visible

NOTHING = "No numbers yet: `harness eval` makes some."


def to_markdown(drawing: Drawing) -> str:
    """Pipe tables, one below the other."""
    from tabulate import tabulate

    parts = [f"# {markdown(drawing.board.title)}", markdown(drawing.board.about)]
    for sheet in drawing.sheets:
        align = _align(sheet)
        table = tabulate(
            [[markdown(visible(cell)) for cell in row] for row in sheet.rows],
            [markdown(visible(column)) for column in sheet.columns],
            tablefmt="pipe",
            colalign=align if sheet.rows else None,
            disable_numparse=True,
        )
        parts += [f"## {markdown(sheet.title)}", *map(_md_line, sheet.above), table]
        parts.append("\n".join(f"- {_md_line(note)}" for note in sheet.notes))
    if not drawing.sheets:
        parts.append(NOTHING)
    return "\n\n".join(part for part in parts if part) + "\n"


def to_csv(drawing: Drawing) -> str:
    """One line a number with all that is known of it; no cell is a formula."""
    rows = [{k: csv_cell(v) if v == v else "" for k, v in row.items()} for row in drawing.rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["model"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_json(drawing: Drawing) -> str:
    """What `to_csv` holds, and the settings of each ranking, for machines."""
    value = {
        "board": drawing.board.name,
        "title": drawing.board.title,
        "about": drawing.board.about,
        "rows": [_finite(row) for row in drawing.rows],
        "settings": [plain(ranking.setting) for ranking in drawing.rankings],
    }
    try:
        told = msgspec.json.encode(value)
    except UnicodeEncodeError:  # half of a character; rows are plain but for such
        told = msgspec.json.encode(plain(value))
    return msgspec.json.format(told, indent=1).decode() + "\n"


def to_parquet(drawing: Drawing) -> bytes:
    """What `to_csv` holds, with types: counts and numbers are numbers."""
    import pandas as pd

    rows = [
        {k: visible(v, 2_000) if isinstance(v, str) else v for k, v in _finite(row).items()}
        for row in drawing.rows
    ]
    frame = pd.DataFrame(rows, columns=list(rows[0]) if rows else ["model"])
    for name in ("ranking", "needed"):  # empty where a number is not ranked, or is told apart
        if name in frame:
            counts = [row[name] if row[name] != "" else None for row in rows]
            frame[name] = pd.array(counts, dtype="Int64")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, engine="pyarrow", compression="zstd")
    return buffer.getvalue()


def to_latex(drawing: Drawing) -> str:
    """booktabs tables; beyond Latin letters they want XeLaTeX or LuaLaTeX."""
    parts = [f"% {visible(drawing.board.title)}; needs the packages booktabs and graphicx"]
    for sheet in drawing.sheets:
        align = "".join("l" if side == "left" else "r" for side in _align(sheet))
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(sheet.title)}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            _tex_row(sheet.columns),
            r"\midrule",
            *map(_tex_row, sheet.rows),
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\footnotesize {latex(visible(line, 500))}" for line in _around(sheet)),
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    if not drawing.sheets:
        parts.append(f"% {NOTHING}")
    return "\n\n".join(parts) + "\n"


def to_html(drawing: Drawing) -> str:
    """One plain page: no script, no request; what a cell holds stays text."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    policy = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    env = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    env.filters["visible"] = visible
    page = env.from_string(PAGE).render(
        board=drawing.board,
        sheets=drawing.sheets,
        style=Markup(STYLE),
        policy=f"default-src 'none'; style-src 'sha256-{policy}'",
        nothing=NOTHING.replace("`", ""),
    )
    return f"{page}\n"


FORMATS: Mapping[str, Callable[[Drawing], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "tex": to_latex,
    "html": to_html,
    "json": to_json,
}


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    odd = (key for key, v in row.items() if isinstance(v, float) and not math.isfinite(v))
    return {**row, **dict.fromkeys(odd)}


def _align(sheet: Sheet) -> list[str]:
    return ["left" if words else "right" for words in sheet.text]


def _md_line(line: str) -> str:
    return markdown(visible(line, 500))


def _around(sheet: Sheet) -> tuple[str, ...]:
    return (*sheet.above, *sheet.notes)


def _tex_row(cells: tuple[str, ...]) -> str:
    return " & ".join(latex(visible(cell)) for cell in cells) + r" \\"


STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f3f5f7; --ink: #1f2328; --dim: #59636e;
  --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --soft: #1c2128; --ink: #e6edf3; --dim: #9198a1; --page: #0d1117; } }
body { margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: var(--ink);
  background: var(--page); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem; }
h1, h2, p, li { overflow-wrap: anywhere; }
p, li { color: var(--dim); font-size: .875rem; margin: .25rem 0; }
.wide { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .75rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
.text { text-align: left; max-width: 24rem; overflow-wrap: anywhere; white-space: normal; }
th:first-child { position: sticky; left: 0; background: var(--page); font-weight: 500;
  min-width: 11rem; }
thead th, thead th:first-child { background: var(--soft); font-weight: 600; white-space: nowrap; }
tbody tr:hover td, tbody tr:hover th { background: var(--soft); }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ board.title|visible }}</title>
<style>{{ style }}</style>
</head>
<body>
<h1>{{ board.title|visible }}</h1>
<p>{{ board.about|visible(500) }}</p>
{% for sheet in sheets %}
<section>
<h2><bdi>{{ sheet.title|visible }}</bdi></h2>
{% for line in sheet.above %}
<p><bdi>{{ line|visible(500) }}</bdi></p>
{% endfor %}
<div class="wide" role="region" tabindex="0" aria-label="{{ sheet.title|visible }}">
<table>
<thead>
<tr>
{% for column in sheet.columns %}
<th scope="col"{{ ' class="text"'|safe if sheet.text[loop.index0] }}>{{ column|visible }}</th>
{% endfor %}
</tr>
</thead>
<tbody>
{% for row in sheet.rows %}
<tr>
{% for cell in row %}
{% if loop.index0 == 0 %}
<th scope="row" class="text"><bdi>{{ cell|visible }}</bdi></th>
{% elif sheet.text[loop.index0] %}
<td class="text"><bdi>{{ cell|visible }}</bdi></td>
{% else %}
<td><bdi>{{ cell|visible }}</bdi></td>
{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if sheet.notes %}
<ul>
{% for note in sheet.notes %}
<li><bdi>{{ note|visible(500) }}</bdi></li>
{% endfor %}
</ul>
{% endif %}
</section>
{% else %}
<p>{{ nothing }}</p>
{% endfor %}
</body>
</html>"""
