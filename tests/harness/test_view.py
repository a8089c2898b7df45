"""The page of a run: complete, self-contained, and deaf to what models write into it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import viewing
from harness.commands.view import serving
from harness.types import Completion, Rollout
from results.run import RunFolder, line
from tests.harness.runs import Parrot, stored_run, sums

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script> ]]> {{ 7*7 }} {% raw %}",
    "<img src=http://evil.example/x onerror=alert(1)>",
    "\u202eright to left\u2028\u0000\u200b",
]
REPORT = {
    "complete": True,
    "metrics": [{"metric": "pass@1", "value": 0.25, "low": 0.1, "high": 0.5, "unit": ""}],
    "faults": {"500 <b>oops</b>": 2},
    "costs": {"retries": {"rate limit": 3}},
}


class Parts(HTMLParser):
    """Tags with attributes, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag in self.raw and self.cdata_elem == self.lasttag:
            self.raw[self.lasttag][-1] += data


def page_of(folder: RunFolder, limit: int = 10_000) -> str:
    journal = folder.rollouts
    rows = viewing.rows(journal.read(), limit)
    rows.damaged += journal.damaged
    return viewing.page(folder.path.name, folder.manifest, folder.report, rows)


def data_of(html: str) -> dict[str, Any]:
    return json.loads(Parts(html).raw["script"][0])


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    task = sums(4, asks="{a} <script>alert(2)</script>")
    folder, _ = stored_run(tmp_path / "<b>run", task, Parrot(HOSTILE), report=REPORT)
    html = page_of(folder)
    parts = Parts(html)
    clean, _ = stored_run(tmp_path / "plain", sums(4), report={**REPORT, "faults": {"a": 1}})
    assert [tag for tag, _ in parts.tags] == [tag for tag, _ in Parts(page_of(clean)).tags]
    assert html.count("<script") == 2
    assert len(re.findall("</script", html, re.I)) == 2
    assert "<img" not in html
    assert "<!--" not in html
    data = data_of(html)
    shown = [row["turns"][0]["output"] for row in sorted(data["rows"], key=lambda r: r["id"])]
    assert shown == HOSTILE


def test_the_page_needs_nothing_else_and_allows_nothing_else(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(), report=REPORT)
    html = page_of(folder)
    parts = Parts(html)
    for _, attributes in parts.tags:
        assert not {"onclick", "onload", "style"} & attributes.keys()
        assert "src" not in attributes
        assert not str(attributes.get("href", "#")).startswith(("http", "//"))
    (policy,) = [a["content"] for _, a in parts.tags if a.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for text in (parts.raw["script"][1], parts.raw["style"][0]):
        found = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{found}'" in policy


def test_the_script_only_ever_writes_text() -> None:
    script = (viewing.HOUSE / "view.js").read_text("utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("):
        assert way not in script


def test_everything_of_a_rollout_is_there(tmp_path: Path) -> None:
    folder, made = stored_run(tmp_path / "run", sums(turns=2), Parrot(["7"]), report=REPORT)
    data = data_of(page_of(folder))
    assert len(data["rows"]) == len(made) == 4
    row = next(row for row in data["rows"] if row["id"] == "s1")
    assert (row["reason"], row["note"], row["answer"]) == ("wrong", "expected 2", "7")
    assert (row["scores"], row["phase"], row["step"]) == ({"correct": 0.0}, "eval", None)
    first, second = row["turns"]
    assert data["prompts"][first["prompt"]] == [["user", "What is 1+1?"]]
    assert data["prompts"][second["prompt"]] == [["user", "Are you sure?"]]


def test_prompts_that_are_the_same_stand_once(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(3), rollouts=4)
    data = data_of(page_of(folder))
    assert len(data["rows"]) == 12
    assert len(data["prompts"]) == 3


def test_endless_text_is_cut_with_a_notice(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(2), Parrot(["x" * 10_000_000, "short"]))
    html = page_of(folder)
    assert len(html) < 200_000
    outputs = [row["turns"][0]["output"] for row in data_of(html)["rows"]]
    head, tail, missing = next(output for output in outputs if isinstance(output, list))
    assert len(head) + len(tail) + missing == 10_000_000
    assert "short" in outputs


def test_the_limit_and_damage_are_told(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(4), closed=False)
    with (folder.path / "rollouts.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"example": "s9"}\n{"verdict": 7, "turns": 1}\n{"half')
    html = page_of(folder, limit=3)
    assert len(data_of(html)["rows"]) == 3
    assert "3 rollouts beyond the first 3" in html
    html = page_of(folder)
    assert len(data_of(html)["rows"]) == 4
    assert "3 lines of the file could not be read" in html
    assert "the run is not complete" in html


def test_numbers_come_with_their_interval(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(), report=REPORT)
    html = page_of(folder)
    assert "pass@1" in html
    assert "[0.1, 0.5]" in html
    assert "&#34;rate limit&#34;: 3" in html
    assert "2 x 500 &lt;b&gt;oops&lt;/b&gt;" in html


@pytest.mark.parametrize(
    "report", [{"metrics": 7}, {"metrics": [3, {"value": "x"}]}, {"faults": 1}]
)
def test_an_odd_report_is_shown_as_far_as_it_goes(tmp_path: Path, report: dict[str, Any]) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(), report=report)
    assert len(data_of(page_of(folder))["rows"]) == 4


def test_logprobs_shade_the_pieces_they_belong_to(tmp_path: Path) -> None:
    folder, (first, *_) = stored_run(tmp_path / "run", sums(1), closed=False)
    prompt, _ = first.turns[0]
    told = Completion("42", logprobs=np.float32([-0.5, -2]), pieces=("4", "2"), steps=2)
    torn = Completion("42", logprobs=np.float32([-0.5]), pieces=("4", "2"), steps=2)
    with folder.rollouts as journal:
        for step, completion in enumerate((told, torn)):
            rollout = Rollout(((prompt, completion),), first.verdict, first.group)
            journal.append(line(rollout, phase="train", step=step))
    rows = data_of(page_of(folder))["rows"]
    turns = [row["turns"][0] for row in rows]
    assert [(row["phase"], row["step"]) for row in rows[1:]] == [("train", 0), ("train", 1)]
    assert turns[1]["pieces"] == ["4", "2"]
    assert turns[1]["logprobs"] == [-0.5, -2.0]
    assert "logprobs" not in turns[0]
    assert "logprobs" not in turns[2]


def test_it_is_served_on_loopback_to_its_own_name_only() -> None:
    server = serving(lambda: "<!doctype html>é", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        assert server.server_address[0] == "127.0.0.1"

        def visit(path: str, **headers: str) -> tuple[int, str, Any]:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            body = reply.read().decode()
            connection.close()
            return reply.status, body, reply.headers

        status, body, headers = visit("/")
        assert (status, body) == (200, "<!doctype html>é")
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert visit("/../etc/passwd")[0] == 404
        assert visit("/", Host="evil.example")[0] == 403
        assert visit("/", Host=f"localhost:{server.server_port}")[0] == 200
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    house = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
        env={"PYTHONPATH": str(house), "PATH": "/usr/bin:/bin", "HOME": str(cwd)},
    )


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "results" / "runs" / "eval-a", sums(), report=REPORT)
    done = harness("view", "eval-a", "--html", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").read_text("utf-8") == page_of(folder)


def test_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = harness("view", "nothing", cwd=tmp_path)
    assert done.returncode == 2
    assert "no run 'nothing'" in done.stderr


def test_ctrl_c_ends_the_page(tmp_path: Path) -> None:
    import signal

    folder, _ = stored_run(tmp_path / "run", sums())
    house = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", "view", str(folder.path)],
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(house), "PATH": "/usr/bin:/bin"},
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        port = int(re.findall(r"127\.0\.0\.1:(\d+)/", first)[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_a_training_run_tells_of_its_loss_and_its_alarms(tmp_path: Path) -> None:
    folder, _ = stored_run(tmp_path / "run", sums(), report=REPORT)
    shown = {"example": "<i>one</i>", "attempt": 2, "reason": "wrong", "said": "<script>x"}
    alarm = {"step": 12, "kind": "length", "text": "answers shrank", "rollouts": [shown]}
    manifest = {**folder.manifest, "about_loss": "it is near 0 whatever is learned"}
    rows = viewing.rows(folder.rollouts.read(), 10)
    html = viewing.page("it", manifest, folder.report, rows, [alarm, {"rollouts": 3}])
    assert "On the printed loss: it is near 0 whatever is learned." in html
    assert "Alarm at step 12, length: answers shrank." in html
    assert "&lt;i&gt;one&lt;/i&gt; attempt 2 (wrong)" in html
    assert html.count("<script") == 2
