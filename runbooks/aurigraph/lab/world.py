#!/usr/bin/env python3
"""What of Aurigraph's world is not a server of the lab: its metrics as Prometheus reads them, and of Cloudflare's API the load balancer with its pools,
which passes its weights on to the lab's HAProxy. It is not Cloudflare: it knows what the runbooks ask, checks it, and answers 4xx to all else.

    world.py PORT FOLDER HAPROXY_SOCKET

FOLDER/world.json holds the state and is read at every request, so that a test can change it: `tps` below 776000 is a breach
at the ramp, and a region in `failed` is not well.
"""
import json
import os
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, FOLDER, HAPROXY = int(sys.argv[1]), sys.argv[2], sys.argv[3]
FILE = os.path.join(FOLDER, "world.json")
REGIONS = ["us-east-1", "us-west-2", "eastus", "westus", "us-central1", "us-west1"]
POOLS = {f"aurigraph-{name}": f"{at:032x}" for at, name in enumerate(["old", *REGIONS], 0xA0)}
ZONE, BALANCER, ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353", "699d98642c564d2e855e9661899b7252", "01a7362d577a6c3019a474fd6f485823"
TOKEN = "lab-cloudflare-token"
LOCK = threading.Lock()
BEGINNING = {
    "tps": 812000, "error_rate": 0.00004, "p95_seconds": 0.081, "finality_seconds": 0.09, "validators": 12, "failed": [], "cross_cloud_p90_seconds": 0.034,
    "random_steering": {"default_weight": 0, "pool_weights": {POOLS["aurigraph-old"]: 1}}, "steering_policy": "random",
}


def state():
    try:
        return json.load(open(FILE))
    except FileNotFoundError:
        return dict(BEGINNING)


def keep(world):
    with open(FILE + ".next", "w") as file:
        json.dump(world, file)
    os.replace(FILE + ".next", FILE)


def follow(weights):
    """The lab has one door for the new side: it gets what the six new pools have together."""
    total, old = sum(weights.values()), weights.get(POOLS["aurigraph-old"], 0)
    percent = round(100 * (total - old) / total)
    if not os.path.exists(HAPROXY):
        return
    for server, weight in (("old", 100 - percent), ("new", percent)):
        with socket.socket(socket.AF_UNIX) as runtime:
            runtime.connect(HAPROXY)
            runtime.sendall(f"set weight web/{server} {weight}\n".encode())
            runtime.recv(4096)


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body, kind="application/json"):
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def result(self, result):
        self.answer(200, {"success": True, "errors": [], "messages": [], "result": result})

    def refuse(self, status, words):
        self.answer(status, {"success": False, "errors": [{"code": 1000 + status, "message": words}], "messages": [], "result": None})

    def balancer(self, world):
        return {"id": BALANCER, "name": "global.example.test", "default_pools": list(POOLS.values()), "steering_policy": world["steering_policy"], "random_steering": world["random_steering"]}

    def do_GET(self):
        world = state()
        if self.path == "/metrics":
            lines = [
                f"aurigraph_transactions_per_second {world['tps']}",
                f"aurigraph_error_ratio {world['error_rate']}",
                f'aurigraph_request_seconds{{quantile="0.95"}} {world["p95_seconds"]}',
                f"aurigraph_finality_seconds {world['finality_seconds']}",
                f"aurigraph_consensus_validators {world['validators']}",
                f'aurigraph_cross_cloud_seconds{{quantile="0.9"}} {world["cross_cloud_p90_seconds"]}',
            ]
            return self.answer(200, "\n".join(lines) + "\n", "text/plain; version=0.0.4")
        if self.path.startswith("/health?region="):
            region = self.path.partition("=")[2]
            status = 404 if region not in REGIONS else 503 if region in world["failed"] else 200
            return self.answer(status, {"status": {200: "UP", 404: "unknown", 503: "DOWN"}[status]})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(403, "Authentication error")
        path = self.path.removeprefix("/client/v4")
        if path == "/user/tokens/verify":
            return self.result({"id": "ed17574386854bf78a67040be0a770b0", "status": "active"})
        if path == "/zones?name=example.test":
            return self.result([{"id": ZONE, "name": "example.test", "account": {"id": ACCOUNT}}])
        if path == f"/zones/{ZONE}/load_balancers":
            return self.result([self.balancer(world)])
        if path == f"/zones/{ZONE}/load_balancers/{BALANCER}":
            return self.result(self.balancer(world))
        if path == f"/accounts/{ACCOUNT}/load_balancers/pools":
            return self.result([{"id": id, "name": name, "enabled": True, "healthy": True} for name, id in POOLS.items()])
        self.refuse(404, f"the lab's Cloudflare does not know {path}")

    def do_PATCH(self):
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(403, "Authentication error")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or "{}")
        if not re.fullmatch(f"/client/v4/zones/{ZONE}/load_balancers/{BALANCER}", self.path) or set(body) - {"steering_policy", "random_steering"}:
            return self.refuse(404, "the lab's Cloudflare only changes the weights of its load balancer")
        weights = body.get("random_steering", {}).get("pool_weights", {})
        if not weights or set(weights) - set(POOLS.values()) or not all(0 <= weight <= 1 for weight in weights.values()) or sum(weights.values()) == 0:
            return self.refuse(400, "pool_weights: known pools, 0 to 1, not all 0")
        with LOCK:
            world = state()
            world.update(body)
            keep(world)
            follow(weights)
        self.result(self.balancer(world))

    def log_message(self, *_):
        pass


keep(state())
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
