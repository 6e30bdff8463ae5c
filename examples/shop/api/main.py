"""The shop's items and orders, as JSON; orders are kept in the volume."""

import json
import os
import socket
import sqlite3
from contextlib import closing

import graceful

DATA = os.environ.get("DATA", "/var/lib/shop")
ITEMS = {"teapot": 29, "kettle": 35, "cup": 8}


def database():
    """A connection for one request. WAL lets both instances of a rolling update use the file."""
    connection = sqlite3.connect(os.path.join(DATA, "shop.db"), timeout=10, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)")
    return closing(connection)


class Api(graceful.Handler):
    def do_GET(self):
        if self.path == "/healthz":
            with database() as orders:
                orders.execute("SELECT 1 FROM orders LIMIT 1")
            self.json(200, "ok")
        elif self.path == "/items":
            self.json(200, ITEMS)
        elif self.path == "/orders":
            with database() as orders:
                rows = orders.execute("SELECT item, count(*) FROM orders GROUP BY item").fetchall()
            self.json(200, {"orders": dict(rows), "instance": socket.gethostname()})
        else:
            self.json(404, {"error": "there is nothing here"})

    def do_POST(self):
        item = self.body().strip()
        if self.path != "/orders":
            self.json(404, {"error": "there is nothing here"})
        elif item not in ITEMS:
            self.json(422, {"error": f"there is no item {item!r}"})
        else:
            with database() as orders:
                number = orders.execute("INSERT INTO orders (item) VALUES (?)", (item,)).lastrowid
            self.json(201, {"order": number, "item": item})

    def json(self, status, value):
        self.reply(status, "application/json", json.dumps(value) + "\n")


graceful.serve(int(os.environ.get("PORT", "8080")), Api)
