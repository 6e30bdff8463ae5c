"""A small HTTP/1.1 server with keep-alive that stops without losing a request.

It needs nothing but the modules of Debian's python3-minimal, which has no http.server.
"""

import selectors
import socket
import threading

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 500: "Internal Server Error"}
MAX_HEAD = 16 * 1024
MAX_BODY = 1024 * 1024
IDLE_SECONDS = 60


class BadRequest(Exception):
    """The client sent something that is no request we understand."""


class Request:
    """Method, path and headers (names in lower case) of one request."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        try:
            self.method, target, self.version = lines[0].split(" ")
        except ValueError:
            raise BadRequest("request line") from None
        if not self.version.startswith("HTTP/1."):
            raise BadRequest("protocol version")
        self.path = target.split("?", 1)[0]
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise BadRequest("header")
            self.headers[name.strip().lower()] = value.strip()

    def body_length(self):
        if "transfer-encoding" in self.headers:
            raise BadRequest("transfer coding")
        length = self.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            raise BadRequest("content length")
        return int(length)

    def keeps_alive(self):
        wish = self.headers.get("connection", "").lower()
        return wish != "close" and (self.version == "HTTP/1.1" or wish == "keep-alive")


class Server:
    """One thread per connection; `handle(request)` returns (status, content type, body)."""

    def __init__(self, port, handle):
        self.handle = handle
        self.stopping = False
        # Closing the writing end makes the reading end ready for everybody who waits, and for ever.
        self.wake, self.alarm = socket.socketpair()
        self.listener = socket.create_server(("", port), backlog=512)
        self.threads = set()

    def stop(self):
        """Ends serve(): no new connection, idle ones closed, requests under way answered. Safe in a signal handler."""
        self.stopping = True
        self.alarm.close()

    def serve(self):
        """Returns once stop() was called and the last request has been answered."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self.wake, selectors.EVENT_READ)
            while not self.stopping:
                selector.select()
                if not self.stopping:
                    self.accept()
        self.listener.close()
        for thread in list(self.threads):
            thread.join()

    def accept(self):
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return  # the client has gone already
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(IDLE_SECONDS)
        thread = threading.Thread(target=self.talk, args=(connection,), daemon=True)
        self.threads.add(thread)
        thread.start()

    def talk(self, connection):
        try:
            with connection:
                self.requests(connection)
        except OSError:
            pass  # the client went away; there is nobody to tell
        finally:
            self.threads.discard(threading.current_thread())

    def requests(self, connection):
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ, "request")
            selector.register(self.wake, selectors.EVENT_READ, "stop")
            while True:
                if not buffer:
                    ready = [key.data for key, _ in selector.select(IDLE_SECONDS)]
                    if "request" not in ready:
                        return  # idle for too long, or told to stop between two requests
                try:
                    request, buffer = self.read(connection, buffer)
                except BadRequest as error:
                    connection.sendall(response(400, "text/plain", f"bad request: {error}\n".encode(), False, True))
                    return
                if request is None:
                    return
                if not self.answer(connection, request):
                    return

    def read(self, connection, buffer):
        """One request and what follows it; (None, b"") when the client has closed."""
        while b"\r\n\r\n" not in buffer:
            if len(buffer) > MAX_HEAD:
                raise BadRequest("too long a head")
            more = connection.recv(65536)
            if not more:
                return None, b""
            buffer += more
        head, buffer = buffer.split(b"\r\n\r\n", 1)
        request = Request(head)
        length = request.body_length()
        while len(buffer) < length:
            more = connection.recv(65536)
            if not more:
                return None, b""
            buffer += more
        return request, buffer[length:]

    def answer(self, connection, request):
        """Sends the response; says whether the connection stays."""
        try:
            status, kind, body = self.handle(request)
        except Exception as error:
            print(f"{request.method} {request.path} failed: {error!r}", flush=True)
            status, kind, body = 500, "text/plain", b"internal error\n"
        keep = request.keeps_alive() and not self.stopping
        connection.sendall(response(status, kind, body, keep, request.method != "HEAD"))
        return keep


def response(status, kind, body, keep, with_body):
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\n"
        f"Content-Type: {kind}; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
