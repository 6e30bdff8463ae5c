"""The shop's page. It knows nothing but the name of the service that has the data."""

import html
import json
import os
import urllib.error
import urllib.parse
import urllib.request

import graceful

API = os.environ.get("API", "http://api:9000")
TITLE = os.environ.get("TITLE", "The shop")


def call(path, data=None):
    with urllib.request.urlopen(API + path, data=data, timeout=10) as answer:
        return json.load(answer)


class Front(graceful.Handler):
    def do_GET(self):
        if self.path == "/healthz":
            self.reply(200, "text/plain", "ok\n")
        elif self.path == "/":
            self.ask(self.page)
        else:
            self.reply(404, "text/plain", "there is nothing here\n")

    def do_POST(self):
        item = urllib.parse.parse_qs(self.body()).get("item", [""])[0]
        if self.path == "/buy":
            self.ask(lambda: self.buy(item))
        else:
            self.reply(404, "text/plain", "there is nothing here\n")

    def page(self):
        items, orders = call("/items"), call("/orders")
        rows = "".join(
            f"<tr><td>{html.escape(name)}<td>{price}<td>{orders['orders'].get(name, 0)} sold"
            f"<td><form method=post action=/buy><button name=item value='{html.escape(name)}'>Buy</button></form>"
            for name, price in items.items()
        )
        title = html.escape(TITLE)
        self.reply(200, "text/html", f"<!doctype html><title>{title}</title><h1>{title}</h1><table>{rows}</table>\n")

    def buy(self, item):
        order = call("/orders", data=item.encode())
        self.reply(200, "text/html", f"<!doctype html><p>Order {order['order']}: {html.escape(item)}. <a href=/>Back</a>\n")

    def ask(self, work):
        """Does what needs the other service, and says so plainly when that one cannot be reached."""
        try:
            work()
        except urllib.error.HTTPError as error:
            self.reply(error.code, "text/plain", error.read().decode())
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            print(f"{API} does not answer: {error}", flush=True)
            self.reply(502, "text/plain", "the shop's data cannot be reached at the moment\n")


graceful.serve(int(os.environ.get("PORT", "8080")), Front)
