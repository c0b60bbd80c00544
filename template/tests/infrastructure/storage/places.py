"""Empty places to keep files in, one for each driver, on real servers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

S3_VARIABLE, AZURE_VARIABLE = "TEST_S3_URL", "TEST_AZURE_URL"
START_S3 = "uvx --from 'moto[server]>=5,<6' moto_server -p 5000"
START_AZURE = "npx azurite@3 azurite-blob --inMemoryPersistence --skipApiVersionCheck"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = (  # Azurite's, which its manual prints
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
AS_ANYBODY = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
    "Signature=moto-does-not-look"
)
Environment = Mapping[str, str]


def server(variable: str, command: str) -> str:
    """Return the address of a server; skip where there is none."""
    url = os.environ.get(variable, "")
    if not url:
        pytest.skip(f"no server: run `{command}` and set {variable} to its address")
    return url.rstrip("/")


def send(method: str, url: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Send a request; return status and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, path, headers={"Content-Length": "0", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def local(folder: Path) -> Iterator[Environment]:
    """A folder."""
    yield {"FILE_STORAGE_LOCAL_DIR": str(folder / "files")}


@contextmanager
def s3(folder: Path) -> Iterator[Environment]:
    """A bucket of a moto server."""
    del folder
    url, bucket = server(S3_VARIABLE, START_S3), f"test-{secrets.token_hex(8)}"
    assert send("PUT", f"{url}/{bucket}")[0] == 200
    yield {
        "S3_BUCKET_NAME": bucket,
        "S3_ACCESS_KEY_ID": "test",
        "S3_SECRET_ACCESS_KEY": "a-planted-secret-of-s3",
        "S3_ENDPOINT_URL": url,
    }


@contextmanager
def azure(folder: Path) -> Iterator[Environment]:
    """A container of Azurite."""
    del folder
    url, container = server(AZURE_VARIABLE, START_AZURE), f"test-{secrets.token_hex(8)}"
    date, version = formatdate(usegmt=True), "2021-08-06"
    # Microsoft, "Authorize with Shared Key": the account is twice in the resource of an emulator.
    text = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n"
    text += f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
    digest = hmac.digest(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256)
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
    }
    status, said = send("PUT", f"{url}/{container}?restype=container", headers)
    assert status == 201, said
    yield {
        "AZURE_STORAGE_ACCOUNT": ACCOUNT,
        "AZURE_STORAGE_KEY": ACCOUNT_KEY,
        "AZURE_STORAGE_CONTAINER": container,
        "AZURE_STORAGE_ENDPOINT_URL": url,
    }


@contextmanager
def gcs(folder: Path) -> Iterator[Environment]:
    """A bucket that answers as Google's XML API does, as far as S3's answers go.

    Google documents that API as compatible with S3's but for the names of headers. The emulators
    that can be had without Docker speak Google's JSON API, which obstore does not.
    """
    del folder
    url, bucket = server(S3_VARIABLE, START_S3), f"test-{secrets.token_hex(8)}"
    assert send("PUT", f"{url}/{bucket}")[0] == 200
    with _renaming_headers(url) as proxy:
        yield {
            "GCS_BUCKET_NAME": bucket,
            "GCS_ACCESS_TOKEN": "a-planted-token-of-gcs",
            "GCS_ENDPOINT_URL": proxy,
        }


@contextmanager
def _renaming_headers(s3_url: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {
                name.lower().replace("x-goog-", "x-amz-"): value
                for name, value in self.headers.items()
                if name.lower() not in {"authorization", "host"}
            }
            headers["Authorization"] = AS_ANYBODY
            path, _, query = self.path.partition("?")
            path = quote(unquote(path)) + (f"?{query}" if query else "")
            address = urlsplit(s3_url).netloc
            # Closed before anything is answered: who asked may be gone by then.
            with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
                connection.request(self.command, path, body, headers)
                answer = connection.getresponse()
                data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                    self.send_header(name.lower().replace("x-amz-", "x-goog-"), value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        proxy.daemon_threads = True
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join()


PLACES: Mapping[str, Callable[[Path], AbstractContextManager[Environment]]] = {
    "local": local,
    "s3": s3,
    "azure": azure,
    "gcs": gcs,
}
