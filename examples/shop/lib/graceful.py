"""http.server with keep-alive that stops without losing a request: what both programs of the shop share."""

import selectors
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IDLE_SECONDS = 60


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; subclasses write do_GET and do_POST."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    wbufsize = 64 * 1024

    def handle(self):
        self.close_connection = False
        try:
            while not self.close_connection and self.wait():
                self.handle_one_request()
        except ConnectionError:
            pass  # the client went away; there is nobody to tell

    def wait(self):
        """Whether a request begins; not when the client is idle for too long or the server stops."""
        self.connection.settimeout(0)
        begun = self.rfile.peek(1)
        self.connection.settimeout(IDLE_SECONDS)
        if begun:
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ, "request")
            selector.register(self.server.wake, selectors.EVENT_READ, "stop")
            return "request" in [key.data for key, _ in selector.select(IDLE_SECONDS)]

    def reply(self, status, kind, body):
        data = body.encode()
        if self.server.stopping:
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self):
        self.do_GET()

    def body(self):
        length = self.headers.get("Content-Length", "0")
        return self.rfile.read(int(length) if length.isdigit() else 0).decode()

    def log_message(self, *_):
        pass  # one line per request is the proxy's business


class Server(ThreadingHTTPServer):
    """Waits at its end for every request that is under way."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 512

    def __init__(self, port, handler):
        self.stopping = False
        # Closing the writing end makes the reading end ready for everybody who waits, and for ever.
        self.wake, self.alarm = socket.socketpair()
        super().__init__(("", port), handler)

    def stop(self, *_):
        self.stopping = True
        self.alarm.close()
        # shutdown() waits for serve_forever(), which this thread may be executing.
        threading.Thread(target=self.shutdown).start()


def serve(port, handler):
    """Serves until SIGTERM, then answers what is under way and returns."""
    server = Server(port, handler)
    signal.signal(signal.SIGTERM, server.stop)
    signal.signal(signal.SIGINT, server.stop)
    print(f"serving on port {port}", flush=True)
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    print("answered the last request", flush=True)
