#!/usr/bin/env python3
"""What the lab lacks of Lattice's surroundings, on one port: visitors, their measurements, and two of Cloudflare's answers.

    application.py PORT WEB_PORT HAPROXY_SOCKET FOLDER

- Visitors: it asks the lab's HAProxy some 30 times a second, and shows under /metrics what they saw. While there is a file FOLDER/fail,
  what the new side answers counts as an error.
- /client/v4/zones/ID/load_balancers/ID is the one load balancer of Cloudflare's API, as far as its pool weights go: they are HAProxy's.
  A pool can be disabled, which nobody notices, and a token verified.
- Whatever has `<script>` in its query is answered with 403, as the WAF does.
It is made up and only for the lab.
"""
import http.client
import http.server
import json
import os
import socket
import sys
import threading
import time
import urllib.parse

PORT, WEB, SOCKET, FOLDER = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2]
POOLS = {"pool-today": "old", "pool-digitalocean": "new"}
lock = threading.Lock()
requests = {"200": 0, "500": 0}
histogram, total = [0] * len(BUCKETS), 0.0


def visitors():
    global total
    while True:
        begun = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", WEB, timeout=2)
            connection.request("GET", "/")
            answer = connection.getresponse()
            side, good = answer.read().decode().strip(), answer.status == 200
            connection.close()
        except OSError:
            side, good = "", False
        took = time.monotonic() - begun
        if side == "new" and os.path.exists(os.path.join(FOLDER, "fail")):
            good = False
        with lock:
            requests["200" if good else "500"] += 1
            total += took
            for at, most in enumerate(BUCKETS):
                histogram[at] += took <= most
        time.sleep(0.03)


def metrics():
    with lock:
        count = sum(requests.values())
        lines = [f'http_requests_total{{service="api",code="{code}"}} {number}' for code, number in requests.items()]
        for name in ["http_request_duration_seconds", "page_load_seconds", "agent_processing_seconds", "database_query_seconds"]:
            lines += [f'{name}_bucket{{le="{most}"}} {number}' for most, number in zip(BUCKETS, histogram)]
            lines += [f'{name}_bucket{{le="+Inf"}} {count}', f"{name}_sum {total}", f"{name}_count {count}"]
    lines += ["celery_queue_length 0", "agent_queue_length 3", "database_connections_ratio 0.2", "cdn_hit_ratio 0.95", "cpu_ratio 0.4", "memory_ratio 0.5"]
    return "\n".join(lines) + "\n"


def haproxy(command):
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(SOCKET)
        control.sendall(command.encode() + b"\n")
        return control.makefile().read()


def balancer():
    weights = {pool: int(haproxy(f"get weight web/{server}").split()[0]) for pool, server in POOLS.items()}
    return {"id": "balancer", "steering_policy": "random", "random_steering": {"default_weight": 0, "pool_weights": {pool: weight / 100 for pool, weight in weights.items()}}}


class Answers(http.server.BaseHTTPRequestHandler):
    def say(self, status, body, kind="application/json"):
        data = (json.dumps(body) if kind == "application/json" else body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path)
        if "<script>" in urllib.parse.unquote(path.query):
            self.say(403, "blocked\n", "text/plain")
        elif path.path == "/metrics":
            self.say(200, metrics(), "text/plain; version=0.0.4")
        elif self.known():
            self.say(200, {"success": True, "errors": [], "result": balancer()})
        elif path.path == "/client/v4/user/tokens/verify":
            self.say(200, {"success": True, "errors": [], "result": {"id": "token", "status": "active"}})
        else:
            self.say(404, {"success": False, "errors": [{"code": 7003, "message": f"no route for {path.path}"}]})

    def do_PATCH(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        if self.path.startswith("/client/v4/accounts/account/load_balancers/pools/pool-") and isinstance(body.get("enabled"), bool):
            return self.say(200, {"success": True, "errors": [], "result": {"id": self.path.rsplit("/", 1)[1], **body}})
        weights = body.get("random_steering", {}).get("pool_weights", {})
        if not self.known() or body.get("steering_policy") != "random" or set(weights) != set(POOLS):
            return self.say(400, {"success": False, "errors": [{"code": 1002, "message": f"pool weights of {list(POOLS)} are wanted"}]})
        if any(round(weight * 10) != weight * 10 for weight in weights.values()):
            return self.say(400, {"success": False, "errors": [{"code": 1002, "message": "weights are tenths"}]})
        for pool, weight in weights.items():
            haproxy(f"set weight web/{POOLS[pool]} {round(weight * 100)}")
        return self.say(200, {"success": True, "errors": [], "result": balancer()})

    def known(self):
        is_authorized = self.headers.get("Authorization", "").startswith("Bearer ")
        return is_authorized and self.path == "/client/v4/zones/zone/load_balancers/balancer"

    def log_message(self, *_):
        pass


threading.Thread(target=visitors, daemon=True).start()
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Answers).serve_forever()
