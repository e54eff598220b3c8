"""The services that give keys out, in one small server: STS, SSO and its OIDC, a container's agent, an
instance.

Whatever they give is made known to the verifying server, so that a program which gets keys here and signs
with them there is right from end to end. What was asked is in `requests`; how it is answered can be changed
in `answers`.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, urlsplit

LIFE = timedelta(hours=1)


class Request:
    def __init__(self, method, target, headers, body):
        parts = urlsplit(target)
        self.method = method
        self.path = parts.path
        self.query = dict(parse_qsl(parts.query))
        self.headers = headers
        self.body = body
        self.form = dict(parse_qsl(body.decode("latin-1")))


class Services:
    """A server of all these services.

    Attributes:
        answers: By path (of STS by action), in place of what they say: `(status, body)`, or what makes it
        from a
            request.
        requests: All of them.
        life: How long keys are good.
        given: The key ids that were given out, the last one last.
    """

    def __init__(self, server):
        self.server = server
        self.answers = {}
        self.requests = []
        self.life = LIFE
        self.given = []
        self.numbers = count(1)
        self.lock = threading.Lock()

    def __enter__(self):
        services = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one segment, or the client waits for an acknowledgement of 40 ms

            def do_GET(self):
                size = int(self.headers.get("Content-Length") or 0)
                request = Request(self.command, self.path, self.headers, self.rfile.read(size))
                status, body = services.answer(request)
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_PUT = do_POST = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_port}"

    def find(self, path):
        """Return the requests for a path, or for an action of STS."""
        return [r for r in self.requests if path in {r.path, r.form.get("Action")}]

    def keys(self):
        """Make keys that the S3 server takes: id, secret, token, end."""
        with self.lock:
            number = next(self.numbers)
        name, secret, token = f"ASIA{number:016}", f"canary/secret+{number}", f"canary/token+{number}="
        self.server.add_credential(name, secret, token=token)
        self.given.append(name)
        return name, secret, token, datetime.now(UTC) + self.life

    def expire(self):
        """Make the S3 server refuse the last keys."""
        self.server.expire_credential(self.given[-1])

    def answer(self, request):
        self.requests.append(request)
        action = request.form.get("Action")
        answer = self.answers.get(action or request.path)
        if answer is None:
            answer = self.sts(action) if action else self.usual(request.path)
        return answer(request) if callable(answer) else answer

    def usual(self, path):
        roles = "/latest/meta-data/iam/security-credentials/"
        if path in {f"{roles}my-role", "/container"}:
            return 200, self.document()
        if path == "/federation/credentials":
            return self.federation()
        login = {"accessToken": "canary-new-login", "expiresIn": 28800, "refreshToken": "canary-new-refresh"}
        texts = {"/latest/api/token": "canary-imds-token", roles: "my-role\n", "/token": login}
        return (200, texts[path]) if path in texts else (404, "there is nothing here")

    def document(self, token="Token"):
        name, secret, session, end = self.keys()
        return {
            "Code": "Success",
            "AccessKeyId": name,
            "SecretAccessKey": secret,
            token: session,
            "Expiration": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        }

    def federation(self):
        name, secret, token, end = self.keys()
        keys = {"accessKeyId": name, "secretAccessKey": secret, "sessionToken": token}
        return 200, {"roleCredentials": {**keys, "expiration": int(end.timestamp() * 1000)}}

    def sts(self, action):
        name, secret, token, end = self.keys()
        return 200, (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
            f"<AccessKeyId>{name}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<SessionToken>{token}</SessionToken><Expiration>{end:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
            f"</Credentials></{action}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"
            f"</{action}Response>"
        )


def refusal(status, code, message):
    """Make an answer of STS that refuses."""
    return status, (
        f'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
