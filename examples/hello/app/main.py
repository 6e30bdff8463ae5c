"""Says hello, and who says it."""

import os
import signal
import socket
import time

from server import Server

PORT = int(os.environ.get("PORT", "8080"))
GREETING = os.environ.get("GREETING", "hello")
INSTANCE = socket.gethostname()  # service, release and a suffix: web-7-k3v9x0qd
DEBUG = os.environ.get("LOG_LEVEL") == "debug"


def handle(request):
    if DEBUG:
        print(f"{request.method} {request.path}", flush=True)
    if request.method not in ("GET", "HEAD"):
        return 405, "text/plain", b"only GET and HEAD\n"
    if request.path == "/":
        return 200, "text/plain", f"{GREETING} from {INSTANCE}\n".encode()
    if request.path == "/healthz":
        return 200, "text/plain", b"ok\n"
    if request.path == "/slow":
        time.sleep(2)
        return 200, "text/plain", b"slow, but here\n"
    return 404, "text/plain", b"there is nothing here\n"


def main():
    server = Server(PORT, handle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    print(f"{INSTANCE} serves on port {PORT}", flush=True)
    server.serve()
    print(f"{INSTANCE} has answered its last request", flush=True)


main()
