"""A proxy that changes what passes, to see whether the server notices: what was signed must be refused."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

__all__ = ["Tampering"]

HOP = {"connection", "transfer-encoding", "keep-alive"}


class Tampering:
    """The proxy, a context manager.

    Args:
        url: The server's.
        change: Gets method, path, headers (a list of pairs) and body, and returns them as they are to arrive.

    Attributes:
        url: What the client is to take for the server's.
    """

    def __init__(self, url, change):
        upstream = urlsplit(url)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                self.close_connection = True
                self.raw_requestline = self.rfile.readline()
                if self.raw_requestline and self.parse_request():
                    self.pass_on()

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                method, path, headers, body = change(self.command, self.path, self.headers.items(), body)
                connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=20)
                connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers:
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
                connection.close()
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP:
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://localhost:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exception):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
