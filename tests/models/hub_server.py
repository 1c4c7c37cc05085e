"""A hub on loopback: the few addresses that huggingface_hub asks for, with ranges, and with every fault it can have."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPOSITORY = "google/gemma-4-E2B-it"
COMMIT = "c" * 40
LARGE = 10_000
"""Bytes from which a file has a SHA-256 of its own, as with Git LFS."""


@dataclass
class Hub:
    """What it serves, and how it misbehaves."""

    repositories: dict[str, Path]
    address: str = ""
    commit: str = COMMIT
    status: Callable[[str], int] = lambda _: 200
    """Of an answer, by its path."""
    error: str = ""
    """X-Error-Code of a refusal."""
    cut: Callable[[int], int | None] = lambda _: None
    """Bytes of a body of this size after which the connection breaks; None sends it whole."""
    alter: Callable[[str, bytes], bytes] = lambda _, body: body
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Path, Range and Authorization of every request."""
    sent: int = 0
    """Bytes of bodies."""

    def listing(self, repository: str) -> dict[str, Any]:
        files: list[dict[str, Any]] = []
        for path in sorted(self.repositories[repository].iterdir()):
            body = path.read_bytes()
            blob = hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()
            file: dict[str, Any] = {"rfilename": path.name, "size": len(body), "blobId": blob}
            if len(body) >= LARGE:
                file["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
            files.append(file)
        return {"id": repository, "modelId": repository, "sha": self.commit, "siblings": files, "tags": []}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        hub.asked.append((path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
        status = hub.status(path)
        if status != 200:
            self._send(status, b"{}", {"X-Error-Code": hub.error} if hub.error else {})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/main)?", path):
            if found[1] in hub.repositories:
                self._send(200, json.dumps(hub.listing(found[1])).encode(), {"Content-Type": "application/json"})
            else:
                self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif found := re.fullmatch(rf"/([^/]+/[^/]+)/resolve/{hub.commit}/([^/]+)", path):
            self._file(found[2], hub.alter(found[2], (hub.repositories[found[1]] / found[2]).read_bytes()))
        else:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def _file(self, name: str, body: bytes) -> None:
        begin = 0
        if wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            begin = int(wanted[1])
            if begin >= len(body):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        headers = {"Content-Range": f"bytes {begin}-{len(body) - 1}/{len(body)}"} if begin else {}
        return self._send(206 if begin else 200, body[begin:], headers, self.hub.cut(len(body) - begin))

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        part = body if cut is None else body[:cut]
        self.wfile.write(part)
        self.wfile.flush()
        self.hub.sent += len(part)
        if cut is not None:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is nothing to complain of."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    handler = type("Handler", (_Handler,), {"hub": hub})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        hub.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
