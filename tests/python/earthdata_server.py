"""NASA Earthdata in small: a data centre that hands out keys and a login host, two names of one server."""

from __future__ import annotations

import base64
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

__all__ = ["CODE", "PASSWORD", "TOKEN", "USER", "EarthdataServer"]

USER, PASSWORD, TOKEN = "diver", "canary-password:of/earth", "canary.token-of-earth"
CODE = "canary-code-of-a-login"
COOKIE = "canary-session"


class EarthdataServer:
    """The server.

    Attributes:
        keys: What it hands out; `expiration` is added.
        ttl: How long they last, seconds.
        refusal: How a wrong password is refused: "page" (200, HTML) or "status" (401).
        busy: How many requests it answers with 503 first.
        body: What it answers in place of keys, or None.
        seen: Each request: host, path, and the kind of its Authorization, "" for none.
    """

    def __init__(self, keys):
        self.keys = keys
        self.ttl = 3600
        self.refusal = "page"
        self.busy = 0
        self.body = None
        self.seen = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self):
        self._thread.start()
        port = self._http.server_port
        # Clients keep cookies for names only, not for addresses.
        self.centre, self.login = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
        self.url = f"{self.centre}/s3credentials"
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: EarthdataServer
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        owner, place = self.owner, urlsplit(self.path)
        authorization = self.headers.get("Authorization", "")
        host = self.headers["Host"].partition(":")[0]
        owner.seen.append((host, place.path, authorization.partition(" ")[0]))
        if owner.busy:
            owner.busy -= 1
            self.answer(503)
        elif host == "127.0.0.1":
            self.log_in(authorization)
        elif host == "centre.example":  # It came to us as to a proxy.
            self.answer(403)
        elif place.path == "/redirect" and parse_qs(place.query) == {"code": [CODE]}:
            self.answer(302, Location="/s3credentials", Set_Cookie=f"session={COOKIE}")
        elif authorization == f"Bearer {TOKEN}" or COOKIE in self.headers.get("Cookie", ""):
            end = datetime.now(UTC) + timedelta(seconds=owner.ttl)
            keys = json.dumps({**owner.keys, "expiration": end.isoformat(" ")})
            self.answer(200, keys if owner.body is None else owner.body)
        else:
            self.answer(307, Location=f"{owner.login}/oauth/authorize?client_id=x&state=s")

    def log_in(self, authorization):
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if authorization == f"Basic {expected}":
            self.answer(302, Location=f"{self.owner.centre}/redirect?code={CODE}")
        elif self.owner.refusal == "page":
            self.answer(200, "<html>log in</html>")
        else:
            self.answer(401)

    def answer(self, status, body="", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass
