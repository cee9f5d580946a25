"""A server on this machine that speaks what a client asks of a model hub, and can misbehave.

Written after what huggingface_hub's client sends and reads: HEAD and GET of /NAME/resolve/REVISION/FILE with
ETag, X-Repo-Commit and X-Error-Code, large files by a redirect to another host that takes ranges, and the two
listings under /api/models.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

TOKEN = "hf_of_a_reader"
LARGE = 2000  # bytes, from which a file lies on the other host


@dataclass
class Repo:
    """Files by commit; the last commit is main. access: "", "private" or "gated"."""

    commits: dict[str, dict[str, bytes]]
    access: str = ""

    def commit(self, revision: str) -> str | None:
        return (
            list(self.commits)[-1] if revision == "main" else revision if revision in self.commits else None
        )


@dataclass
class Hub:
    """Repositories, what was asked (method, path, whether with a token), and how the server behaves."""

    port: int = 0
    repos: dict[str, Repo] = field(default_factory=dict)
    log: list[tuple[str, str, bool]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    breaks: int = 0  # so many downloads from the other host end half-way
    status: int = 0  # answer everything with it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> list[tuple[str, str, bool]]:
        """What was asked since the last call."""
        found, self.log[:] = list(self.log), []
        return found


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a free port."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Standard error is the client's."""

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.hub.log.append((self.command, path, "Authorization" in self.headers))
        steps = path.strip("/").split("/")
        if self.hub.status:
            self._send(self.hub.status, b"", {})
        elif steps[0] == "other-host":
            self._large(self._files()[steps[1]])
        elif steps[:2] == ["api", "models"]:
            self._listing("/".join(steps[2:4]), steps[4], steps[5])
        else:
            self._file("/".join(steps[:2]), steps[3], "/".join(steps[4:]))

    def _repo(self, name: str) -> Repo | None:
        """The repository, unless it does not exist for who asks; then that is what was answered."""
        repo = self.hub.repos.get(name)
        reader = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repo is None or (repo.access == "private" and not reader):
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif repo.access == "gated" and not reader:
            self._refuse(403, "GatedRepo", f"Access to model {name} is restricted")
        else:
            return repo
        return None

    def _file(self, name: str, revision: str, file: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        commit = repo.commit(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        data = repo.commits[commit].get(file)
        if data is None:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        head = {"X-Repo-Commit": commit, "ETag": f'"{digest(data)}"'}
        if len(data) < LARGE:
            self._send(200, data, head)
            return
        linked = {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{digest(data)}"'}
        place = f"http://localhost:{self.hub.port}/other-host/{digest(data)}"
        self._send(302, b"", head | linked | {"Location": place})

    def _large(self, data: bytes) -> None:
        start = 0
        if "Range" in self.headers:
            self.hub.ranges.append(self.headers["Range"])
            start = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if self.hub.breaks:
            self.hub.breaks -= 1
            self.wfile.write(data[start : (start + len(data)) // 2])
            return  # with it the connection ends
        self.wfile.write(data[start:])

    def _listing(self, name: str, what: str, revision: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        commit = repo.commit(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = repo.commits[commit]
        entries = [
            {"type": "file", "path": p, "size": len(d), "oid": digest(d)[:40]} for p, d in files.items()
        ]
        about = {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]}
        self._send(200, json.dumps(entries if what == "tree" else about).encode(), {})

    def _files(self) -> dict[str, bytes]:
        repos = self.hub.repos.values()
        return {digest(d): d for repo in repos for files in repo.commits.values() for d in files.values()}

    def _refuse(self, status: int, code: str, message: str, more: dict[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": message} | (more or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status, HTTPStatus(status).phrase)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def digest(data: bytes) -> str:
    """How a file's content is named."""
    return hashlib.sha256(data).hexdigest()
