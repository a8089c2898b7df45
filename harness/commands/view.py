"""`harness view`: look at a run's prompts, completions and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer

Flag = typer.Option


def run(
    place: Annotated[str, typer.Argument(metavar="RUN", help="its folder, or (part of) its id")],
    html: Annotated[Path | None, Flag("--html", help="write one HTML file, and end")] = None,
    port: Annotated[int, Flag("--port", min=0, max=65535, help="0 takes a free one")] = 0,
    limit: Annotated[int, Flag("--limit", "-L", min=1, help="the first N rollouts")] = 10_000,
    output: Annotated[Path, Flag("--output-dir", "-o")] = Path("results"),
) -> None:
    """Show a run as a local page, or write it as one HTML file."""
    from harness.commands import screen
    from harness.journal import Journal, write_whole
    from results.run import find_run

    folder = find_run(place, output)

    def page() -> str:
        from harness import viewing

        journal = folder.rollouts
        draw, undrawn = _drawing(folder.manifest)
        shown = viewing.rows(journal.read(), limit, draw)
        shown.damaged += journal.damaged
        shown.undrawn = undrawn or shown.undrawn
        title = folder.path.resolve().name
        alarms = list(Journal(folder.path / "alarms.jsonl").read())
        return viewing.page(title, folder.manifest, folder.report, shown, alarms)

    if html is not None:
        write_whole(html, page())
        screen.say(f"written to {html}")
        return
    page()  # what is wrong with the run is said here, not in a browser
    server = serving(page, port)
    try:
        screen.say(f"{folder.path} is shown at http://127.0.0.1:{server.server_port}/")
        screen.say("Ctrl-C ends it")
        server.serve_forever()
    except KeyboardInterrupt:
        screen.say("ended")
    finally:
        server.server_close()


def _drawing(manifest: Mapping[str, Any]) -> tuple[Any, str]:
    """How the run's rollouts are drawn, None where its task has no pictures; or why not."""
    from harness import registry
    from harness.errors import HarnessError, UnknownName
    from harness.pictures import drawing

    asks = manifest.get("asks")
    name = cast(Mapping[str, Any], asks).get("task") if isinstance(asks, Mapping) else None
    if not isinstance(name, str) or name.endswith(".py"):
        return None, ""
    try:
        task = registry.task(name)
        if task.picture is None:
            return None, ""
        asked = cast(Mapping[str, Any], asks).get("version")
        if asked != task.version:
            return None, f"{name} is at version {task.version} here, the run at {asked}"
        return drawing(task), ""
    except UnknownName:
        return None, ""  # a task of somewhere else: whether it has pictures is not known
    except HarnessError as error:
        return None, str(error)


def serving(page: Callable[[], str], port: int) -> Any:
    """A server of one page on this machine's loopback; made anew at each visit."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    from harness.errors import HarnessError, UsageError
    from harness.viewing import policy

    class Page(BaseHTTPRequestHandler):
        """Answers GET / to those who asked for this machine by its own name."""

        def do_GET(self) -> None:
            here = cast(ThreadingHTTPServer, self.server).server_port
            own = (f"127.0.0.1:{here}", f"localhost:{here}")
            if self.headers.get("Host") not in own:  # a page elsewhere, by a name of its own
                return self.send_error(403)
            if self.path != "/":
                return self.send_error(404)
            try:
                body, status = page().encode(), 200
            except HarnessError as error:
                body, status = str(error).encode(), 500
            self.send_response(status)
            kind = "text/html" if status == 200 else "text/plain"
            for name, value in {
                "Content-Type": f"{kind}; charset=utf-8",
                "Content-Length": str(len(body)),
                "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
                "X-Content-Type-Options": "nosniff",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Cache-Control": "no-store",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    class Loopback(ThreadingHTTPServer):
        """Ends with the command, whoever is still reading."""

        daemon_threads = True
        block_on_close = False

    try:
        return Loopback(("127.0.0.1", port), Page)
    except OSError as error:
        raise UsageError(
            f"port {port} of this machine cannot be had ({error.strerror}); give another --port"
        ) from error
