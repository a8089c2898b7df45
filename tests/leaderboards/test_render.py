import csv
import io
import json
import re
import unicodedata
from html.parser import HTMLParser

import pytest

from harness import registry
from leaderboards.board import Board, Drawing, draw
from leaderboards.render import FORMATS
from leaderboards.text import csv_cell, latex, markdown, number, span, visible
from results.record import Record
from tests.records import HOSTILE, a_record

RANKINGS = Board(name="hostile", title=HOSTILE[0], about=HOSTILE[1], columns=("pass@1",))
MATRIX = Board(name="hostile", title=HOSTILE[0], about=HOSTILE[2], layout="matrix")


def hostile(board: Board) -> Drawing:
    records: list[Record] = []
    for n, text in enumerate(HOSTILE):
        values = [float(i < 4 * n) for i in range(60)]
        more = {"recipe": text if n % 2 else "", "engine": text, "dtype": text, "unit": text[:9]}
        records.append(a_record(text, values, note=text, run=f"r{n}", sampling={text: text}))
        records.append(a_record(text, values, run=f"s{n}", metric=f"pass@1{text}"[:200], **more))
        records.append(
            records[-2].but(
                origin="reported", source=f"https://example.org/{n}?{'|' * 9}<x>", run=""
            )
        )
    return draw(board, records)


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if dict(attrs).get("http-equiv") == "Content-Security-Policy":
            self.policy = dict(attrs)["content"] or ""

    def handle_data(self, data: str) -> None:
        self.text += data


BOARDS = pytest.mark.parametrize("board", [RANKINGS, MATRIX], ids=["rankings", "matrix"])


@BOARDS
def test_a_page_holds_no_tag_that_a_name_brought(board: Board):
    page = Page(FORMATS["html"](hostile(board)))
    plain = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section", "div"}
    assert page.tags <= plain | {"table", "thead", "tbody", "tr", "th", "td", "bdi", "ul", "li"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not page.attributes & {"href", "src", "srcset", "action", "style"}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert page.policy.startswith("default-src 'none'; style-src 'sha256-")


@BOARDS
def test_markdown_stays_a_table_and_renders_without_a_tag_of_a_name(board: Board):
    from markdown_it import MarkdownIt

    text = FORMATS["md"](hostile(board))
    page = Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    table = {"table", "thead", "tbody", "tr", "th", "td"}
    assert page.tags <= {"h1", "h2", "p", "ul", "li"} | table
    assert page.attributes <= {"style"}  # alignment
    blocks = [b for b in text.split("\n\n") if b.startswith("|")]
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in block.splitlines()}
        assert len(widths) == 1


@BOARDS
def test_latex_holds_no_command_that_a_name_brought(board: Board):
    text = FORMATS["tex"](hostile(board))
    ours = {"begin", "end", "centering", "caption", "resizebox", "ifdim", "width", "linewidth"}
    ours |= {"else", "fi", "toprule", "midrule", "bottomrule", "par", "footnotesize", "uparrow"}
    ours |= {"textasciitilde", "textasciicircum", "textbackslash", "textless", "textgreater"}
    assert set(re.findall(r"\\([A-Za-z]+)", text)) <= ours
    body = [line for line in text.splitlines() if not line.startswith("%")]
    unescaped = re.sub(r"\\[&%$#_{}]", "", "\n".join(body)).replace(r"$\uparrow$", "")
    unescaped = unescaped.replace("{!}{%", "{!}{")
    assert not re.findall(r"[%$#_~^]", unescaped)
    assert unescaped.count("{") == unescaped.count("}")
    for rows in re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.S):
        widths = {len(re.findall(r"(?<!\\)&", row)) for row in rows.splitlines()}
        assert len(widths) == 1
        assert not re.findall(r"^\s*[\[*]", rows, re.M)


@BOARDS
def test_no_cell_of_a_csv_is_a_formula(board: Board):
    drawing = hostile(board)
    rows = list(csv.reader(io.StringIO(FORMATS["csv"](drawing))))
    assert len(rows) == 1 + len(drawing.rows)
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "@", "\t"))
        assert not cell.startswith("-") or float(cell) < 0


@BOARDS
@pytest.mark.parametrize("kind", ["md", "csv", "tex", "html"])
def test_nothing_invisible_gets_into_a_table(board: Board, kind: str):
    text = FORMATS[kind](hostile(board))
    odd = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co"}}
    assert odd <= {"\n"}
    text.encode()


@BOARDS
def test_json_is_strict_and_holds_every_row(board: Board):
    drawing = hostile(board)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    read = json.loads(FORMATS["json"](drawing), parse_constant=refuse)
    assert len(read["rows"]) == len(drawing.rows)
    assert read["board"] == "hostile"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_board_without_records_says_so(kind: str):
    text = FORMATS[kind](draw(registry.board("overall"), []))
    assert text.endswith("\n")
    if kind not in ("csv", "json"):
        assert "harness eval" in text


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_records_give_the_same_text(kind: str):
    assert FORMATS[kind](hostile(RANKINGS)) == FORMATS[kind](hostile(RANKINGS))


def test_a_csv_brings_back_the_numbers_to_the_bit():
    record = a_record("m", [1, 0, 0])
    drawing = draw(Board(name="b", title="B", columns=("pass@1",)), [record])
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"](drawing)))
    assert (float(row["value"]), float(row["low"])) == (record.value, record.low)
    assert row["rank"] == "1"


def test_numbers_have_the_digits_that_their_interval_bears():
    assert number(0.41237, 0.0275) == "0.412"
    assert number(0.41237, 0.2) == "0.41"
    assert number(123.456, 25.0) == "123"
    assert number(0.41237) == "0.4124"
    assert number(0.5, float("inf")) == "0.5"
    assert span(0.385, 0.44) == "[0.385, 0.440]"
    assert span(float("nan"), float("nan")) == ""


def test_text_of_every_kind_is_escaped_by_hand():
    assert visible("a\u202eb\x1b\n\tc") == "a\\u202eb\\u001b  c"
    assert visible("x" * 500) == "x" * 119 + "…"
    assert markdown("a|b <c> [0.1, 0.2] [x](y)") == r"a\|b &lt;c&gt; [0.1, 0.2] \[x\](y)"
    assert markdown("# no heading") == r"\# no heading"
    assert latex("50% & a_b") == r"50\% \& a\_b"
    assert latex("[x]*") == "{[}x]{*}"
    assert csv_cell("=1+1") == "'=1+1"
    assert csv_cell(-0.5) == -0.5


def test_a_matrix_shows_ranks_within_columns_and_marks_settings():
    values = [1.0] * 50 + [0.0] * 10
    records = [
        a_record("a", values, run="1"),
        a_record("b", [0.0] * 60, run="2"),
        a_record("c", values, run="3", sampling={"temperature": 0.0}),
        a_record("a", values, run="4", task="puzzles/maze"),
    ]
    (sheet,) = draw(registry.board("overall"), records).sheets
    assert [column.split()[-1] for column in sheet.columns[1:]] == ["(1)", "(2)", "↑"]
    assert [row[0] for row in sheet.rows] == ["a", "b", "c"]
    assert [[cell.partition("#")[2] for cell in row[1:]] for row in sheet.rows] == [
        ["1", "", "1"],
        ["2", "", ""],
        ["", "1", ""],
    ]
    assert any("temperature 0" in note for note in sheet.notes)
