"""A web server of Python's own library, for tests of the HTTP resource. Arguments: port, then certificate, key and, to demand one of clients, their authority."""

import base64
import gzip
import json
import select
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

connections, slow, counts = set(), set(), {}
lock = threading.Lock()


def alive(sock):
    """Whether the client is still there: what it has sent is left unread."""
    try:
        return not (select.select([sock], [], [], 0)[0] and socket.socket.recv(sock, 1, socket.MSG_PEEK) == b"")
    except (OSError, ValueError):
        return False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with lock:
            connections.add(self.connection)

    def finish(self):
        with lock:
            connections.discard(self.connection)
        super().finish()

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def as_json(self, value):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def count(self, key):
        with lock:
            counts[key] = counts.get(key, 0) + 1
            return counts[key]

    def serve(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        body = self.body()
        what, *rest = url.path.strip("/").split("/")
        if what == "echo":
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.as_json({"method": self.command, "path": self.path, "headers": headers, "body": base64.b64encode(body).decode()})
        elif what == "stats":
            with lock:
                others = [one for one in connections if one is not self.connection and alive(one)]
                self.as_json({"running": len([one for one in slow if alive(one)]), "sessions": len(others), "counts": counts})
        elif what == "slow":
            with lock:
                slow.add(self.connection)
            giveUp = time.monotonic() + 60
            while time.monotonic() < giveUp and alive(self.connection):
                select.select([self.connection], [], [], 1)
            with lock:
                slow.discard(self.connection)
            self.close_connection = True
        elif what == "status":
            self.answer(int(rest[0]), b"secret words", Content_Type="text/plain", **({"Retry_After": query["after"]} if "after" in query else {}))
        elif what == "redirect":
            self.answer(int(query["status"]), Location=query["to"])
        elif what == "round":
            self.answer(302, Location="/round")
        elif what == "dropped":  # the first n times nothing is answered
            n = self.count(rest[0])
            if n <= int(query["times"]):
                self.close_connection = True
            else:
                self.as_json({"attempts": n, "key": self.headers.get("Idempotency-Key")})
        elif what == "busy":  # once
            n = self.count(rest[0])
            if n == 1:
                self.answer(503, Retry_After=query["after"])
            else:
                self.as_json({"attempts": n})
        elif what == "gzip":
            self.answer(200, gzip.compress(b'{"big":"' + b"x" * int(query.get("size", "10")) + b'"}'), Content_Type="application/json", Content_Encoding="gzip")
        elif what == "typed":
            self.answer(200, base64.b64decode(query["body"]), Content_Type=query["type"], Set_Cookie="a=1")
        elif what == "pieces":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for n in range(int(query["n"])):
                self.wfile.write(b"3e8\r\n" + bytes([n % 256]) * 1000 + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


port, *files = sys.argv[1:]
server = Server(("127.0.0.1", int(port)), Handler)
if files:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files[:2])
    if files[2:]:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files[2])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
