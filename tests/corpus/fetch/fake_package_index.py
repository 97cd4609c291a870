"""Package index on loopback: the simple API in JSON, and functions that make archives."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def tar_gz(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    """Return an archive of files, and of members without content (links, devices)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return buffer.getvalue()


def wheel(files: dict[str, bytes]) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class PackageIndex:
    """Files and pages of the index. `faults` of a path are statuses, or numbers of bytes to cut off, one per answer."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: dict[str, bytes] = {}
        self.listed: dict[str, list[dict[str, object]]] = {}
        self.faults: dict[str, list[int]] = {}
        self.asked: list[str] = []
        self.agents: set[str] = set()

    def add(self, package: str, filename: str, body: bytes, **changes: object) -> None:
        """List and serve a file; `changes` overrides fields of the listing, None omits a field."""
        self.bodies[f"/files/{filename}"] = body
        entry: dict[str, object] = {
            "filename": filename,
            "url": f"../../files/{filename}",
            "hashes": {"sha256": hashlib.sha256(body).hexdigest()},
            "size": len(body),
            "yanked": False,
        }
        entry.update(changes)
        files = self.listed.setdefault(package, [])
        files.append({key: value for key, value in entry.items() if value is not None})
        self.bodies[f"/simple/{package}/"] = json.dumps({"meta": {"api-version": "1.1"}, "files": files}).encode()


@contextmanager
def serving() -> Iterator[PackageIndex]:
    """Run the index."""
    index = PackageIndex()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            index.agents.add(self.headers["User-Agent"])
            faults = index.faults.get(self.path, [])
            fault = faults.pop(0) if faults else 0
            body = index.bodies.get(self.path)
            if fault >= 400 or body is None:
                self.send_error(fault or 404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - fault])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
