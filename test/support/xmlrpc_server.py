"""
A server of XML-RPC made of Python's own. Words: [--http11] [--user NAME:PASSWORD] [--port PORT] [--tls CERT KEY].
Prints its port and that of its control, where a connection is told how many calls run and how many clients are connected.
"""
import argparse
import base64
import datetime
import json
import select
import socketserver
import ssl
import sys
import threading
import time
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

words = argparse.ArgumentParser()
words.add_argument('--http11', action='store_true')
words.add_argument('--user')
words.add_argument('--port', type=int, default=0)
words.add_argument('--tls', nargs=2)
given = words.parse_args()
lock = threading.Lock()
counts = {'running': 0, 'sessions': 0, 'calls': 0}


def count(what, by):
    with lock:
        counts[what] += by


class Handler(SimpleXMLRPCRequestHandler):
    protocol_version = 'HTTP/1.1' if given.http11 else 'HTTP/1.0'
    disable_nagle_algorithm = True

    def setup(self):
        count('sessions', 1)
        super().setup()

    def finish(self):
        try:
            super().finish()
        finally:
            count('sessions', -1)

    def allowed(self):
        if given.user is None or self.headers.get('Authorization') == 'Basic ' + base64.b64encode(given.user.encode()).decode():
            return True
        self.send_response(401)
        self.send_header('WWW-Authenticate', 'Basic realm="test"')
        self.send_header('Content-Length', '0')
        self.end_headers()
        return False

    def do_HEAD(self):
        if self.allowed():
            self.send_response(405)
            self.send_header('Content-Length', '0')
            self.end_headers()

    def do_POST(self):
        if self.allowed():
            super().do_POST()

    def _dispatch(self, method, params):
        count('calls', 1)
        if method == 'headers':
            return dict(self.headers.items())
        if method == 'slow':
            return self.slow(*params)
        return self.server._dispatch(method, params)

    def slow(self, seconds):
        """Takes long, and ends when the client has gone away."""
        count('running', 1)
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                if select.select([self.connection], [], [], 0.01)[0]:
                    return 'left'
            return 'done'
        finally:
            count('running', -1)


class Server(socketserver.ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 100

    def handle_error(self, request, address):
        pass  # clients that go away


class Control(socketserver.StreamRequestHandler):
    def handle(self):
        time.sleep(0.05)  # what is closed has been noticed by then
        with lock:
            self.wfile.write(json.dumps(counts).encode())


def fail(code, text):
    raise Fault(code, text)


def crash():
    raise ValueError('a mistake')


server = Server(('127.0.0.1', given.port), Handler, allow_none=True, use_builtin_types=True, logRequests=False)
server.register_introspection_functions()
server.register_multicall_functions()
for name, function in {
    'echo': lambda x=None: x,
    'told': lambda x: type(x).__name__ + ' ' + repr(x),
    'now': lambda: datetime.datetime(2026, 1, 2, 3, 4, 5),
    'big': lambda size: 'x' * size,
    'fail': fail,
    'crash': crash,
}.items():
    server.register_function(function, name)
if given.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*given.tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
control = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Control)
control.daemon_threads = True
threading.Thread(target=control.serve_forever, daemon=True).start()
print(server.server_address[1], control.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()  # ends with whoever has started it
