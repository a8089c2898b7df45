"""engine: the container engine, found through the `docker` package, and one container of it.

Where it is: DOCKER_HOST, or the engine's usual socket. All that can be missing (package, engine,
permission, image) is told with the command that mends it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sandbox.errors import SandboxUnavailable

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

OWNER = "sandbox.owner"
"""Label of our containers: the process that started them."""
HEAD = struct.Struct(">BxxxL")
"""Before each piece of output: 1 standard output, 2 error output; and its length."""
KEPT = 1 << 16
"""Bytes of error output that are kept."""
PATIENCE = 60.0
"""Seconds that the engine has for one answer."""


def connect(seconds: float = PATIENCE) -> DockerClient:
    """A client of the engine, which has answered; SandboxUnavailable where there is none.

    It has `seconds` for each answer.
    """
    try:
        import docker
    except ImportError as error:
        raise SandboxUnavailable(
            "the docker backend needs the package `docker`: pip install 'grpo-harness[docker]'"
        ) from error
    where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    client: DockerClient | None = None
    try:
        _knock(where, seconds)
        client = docker.from_env(timeout=int(seconds))
        api: Any = client.api
        api.ping()
    except Exception as error:
        if client is not None:
            client.close()
        raise SandboxUnavailable(_unanswered(where, error)) from error
    return client


def _knock(where: str, seconds: float) -> None:
    """OSError where nobody listens on a local socket; the package would leak one on the way."""
    if where.startswith("unix://") and hasattr(socket, "AF_UNIX"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(seconds)
            line.connect(where.removeprefix("unix://"))


def _unanswered(where: str, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return (
            f"no permission to use the engine at {where}: sudo usermod -aG docker $USER, log in "
            "again; or a rootless engine: dockerd-rootless-setuptool.sh install"
        )
    return (
        f"no engine answers at {where} ({error}): start it (systemctl start docker, or open "
        "Docker Desktop), or name another in DOCKER_HOST"
    )


def image_of(client: DockerClient, name: str) -> Image:
    """The image of that name; SandboxUnavailable, with how to make it, where there is none."""
    import docker.errors

    try:
        return client.images.get(name)
    except docker.errors.ImageNotFound as error:
        raise SandboxUnavailable(
            f"the engine has no image {name}: harness sandbox image "
            "(makes it from this interpreter, without a registry)"
        ) from error
    except docker.errors.APIError as error:
        raise SandboxUnavailable(f"the engine tells nothing of {name}: {error}") from error


def owner() -> str:
    """This process, as its containers are labeled: number, and where that number has a meaning."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        where = f"{boot}-{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        where = platform.node()
    return f"{os.getpid()}@{where}"


def sweep(client: DockerClient) -> None:
    """Remove what was made but not started by processes of this machine that are gone.

    A process that is killed between the two leaves such a container; one that was started ends, and
    is removed by the engine, when its owner does.
    """
    import docker.errors

    api: Any = client.api
    for each in api.containers(all=True, filters={"label": OWNER, "status": "created"}):
        number, _, where = str(each["Labels"].get(OWNER)).partition("@")
        here = where == owner().partition("@")[2]
        if here and number.isdigit() and not _alive(int(number)):
            with contextlib.suppress(docker.errors.APIError):
                api.remove_container(each["Id"], force=True, v=True)


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class ContainerWire:
    """The pipes of one container: a `sandbox.worker.Wire`. It lives as long as this object.

    Whoever ends without closing it takes the container along: its input then ends, so its process
    does, and the engine removes it.
    """

    def __init__(
        self, client: DockerClient, command: list[str], options: Mapping[str, Any]
    ) -> None:
        self._client, self._since = client, int(time.time()) - 1
        self._held = b""
        self._left = 0
        self._stream = 0
        self._said = bytearray()
        made = client.containers.create(command=command, auto_remove=True, **options)
        self.id = cast(str, made.id)
        try:
            api: Any = client.api
            attached: Any = api.attach_socket(
                self.id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
            )
            self._attached: Any = attached
            self._line: socket.socket = getattr(attached, "_sock", attached)
            made.start()  # pyright: ignore[reportUnknownMemberType]
        except BaseException:
            with contextlib.suppress(Exception):
                made.remove(force=True, v=True)  # pyright: ignore[reportUnknownMemberType]
            raise

    def write(self, data: bytes) -> None:
        """All of it; OSError where the container is gone."""
        self._line.settimeout(PATIENCE)
        self._line.sendall(data)

    def read(self, most: int, seconds: float) -> bytes:
        """Some bytes of its standard output; none at the end; TimeoutError."""
        until = time.monotonic() + seconds
        while True:
            while self._left == 0:
                if len(self._held) < HEAD.size:
                    if not self._more(until):
                        return self._ended()
                    continue
                self._stream, self._left = HEAD.unpack(self._held[: HEAD.size])
                self._held = self._held[HEAD.size :]
            if not self._held and not self._more(until):
                return self._ended()
            piece = self._held[: min(self._left, most)]
            self._held = self._held[len(piece) :]
            self._left -= len(piece)
            if self._stream == 1:
                return piece
            self._said += piece
            del self._said[:-KEPT]

    def close(self) -> str:
        """Kill the container, wait until it is removed; what it said on its error output."""
        import docker.errors
        import requests

        gone = (docker.errors.APIError, requests.RequestException, OSError)
        with contextlib.suppress(*gone):
            self._client.api.kill(self.id)  # pyright: ignore[reportUnknownMemberType]
        with contextlib.suppress(*gone):
            self._client.api.wait(  # pyright: ignore[reportUnknownMemberType]
                self.id, timeout=int(PATIENCE), condition="removed"
            )
        with contextlib.suppress(*gone):  # 404 and 409: it is gone, or going
            self._client.api.remove_container(  # pyright: ignore[reportUnknownMemberType]
                self.id, force=True, v=True
            )
        for each in (getattr(self._attached, "_response", None), self._attached, self._line):
            if each is not None:
                with contextlib.suppress(OSError, ValueError):  # one of them may close another
                    each.close()
        self._client.close()
        return self._said.decode("utf-8", "replace")

    def _more(self, until: float) -> bool:
        """Receive; False at the end of the stream."""
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._line.settimeout(left)
        part = self._line.recv(1 << 20)
        self._held += part
        return bool(part)

    def _ended(self) -> bytes:
        """The end of the stream; OSError where memory was the reason."""
        events = self._client.events(  # pyright: ignore[reportUnknownMemberType]
            since=self._since,
            until=int(time.time()) + 1,
            filters={"container": self.id, "event": "oom"},
        )
        with contextlib.closing(events):
            if next(iter(events), None) is not None:
                raise OSError("the container was out of memory")
        return b""
