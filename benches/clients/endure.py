"""Stops and reloads a server under load, again and again, and counts what became of every request.

    python benches/clients/endure.py BATCHWRIGHT MODEL [--times 50] [--clients 8]

- stop: a server, clients with connections of their own that ask without a pause, SIGTERM at a random moment. A request is
  *lost* if a whole request was sent on an open connection and no whole answer came. The exit code must be 0.
- reload: one server under the same clients; the model is loaded anew TIMES times. Every answer must be 200 and have
  the bytes that it had at first, and each answer names the load that it came from.

Only Python's own library is needed. The exit code is 1 if a request was lost, failed or answered otherwise.
"""

import argparse
import collections
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time

TEXTS = [f"what is the balance of account number {n}" for n in range(64)]


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


class Server:
    def __init__(self, args):
        self.port = free_port()
        command = [args.batchwright, "serve", "-m", f"m={args.model}", "--port", str(self.port), "--cache", "0", "--log-level", "warn"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while self.ask("GET", "/health/ready") != 200:
            assert time.monotonic() < deadline, "the server does not get ready"
            time.sleep(0.02)

    def ask(self, method, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request(method, path)
            return connection.getresponse().status
        except OSError:
            return None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def client(port, seed, seen, stop):
    """Asks until told to stop, or until nobody takes connections any more."""
    choose = random.Random(seed)
    connection = None
    while not stop.is_set():
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.connect()
            except OSError:
                return
        text = choose.choice(TEXTS)
        try:
            connection.request("POST", "/embed", json.dumps(dict(texts=[text])), {"content-type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            seen.append((text, response.status, body, response.headers.get("x-model-load")))
            if response.will_close:
                connection.close()
                connection = None
        except (OSError, http.client.HTTPException) as error:
            seen.append((text, None, repr(error), None))
            connection = None


def under_load(server, args, seed):
    stop, seen = threading.Event(), [[] for _ in range(args.clients)]
    threads = [threading.Thread(target=client, args=(server.port, seed * 1000 + at, seen[at], stop)) for at in range(args.clients)]
    for thread in threads:
        thread.start()
    return stop, threads, seen


def stops(args):
    outcome, codes, lost = collections.Counter(), collections.Counter(), []
    for turn in range(args.times):
        server = Server(args)
        stop, threads, seen = under_load(server, args, turn)
        time.sleep(random.Random(turn).uniform(0.05, 0.6))
        codes[server.stop()] += 1
        for thread in threads:
            thread.join()
        for one in seen:
            for text, status, body, _ in one:
                outcome[status] += 1
                if status != 200:
                    lost.append((turn, status, body))
    print(f"stop: {args.times} times; answers {dict(outcome)}; exit codes {dict(codes)}")
    for one in lost[:5]:
        print("  ", one)
    return not lost and set(codes) == {0}


def reloads(args):
    server = Server(args)
    stop, threads, seen = under_load(server, args, 7)
    time.sleep(0.5)
    reloaded = [server.ask("POST", "/models/m/load") for _ in range(args.times)]
    stop.set()
    for thread in threads:
        thread.join()
    code = server.stop()
    statuses, first, differ, loads = collections.Counter(), {}, 0, set()
    for text, status, body, load in (answer for one in seen for answer in one):
        statuses[status] += 1
        loads.add(load)
        differ += status == 200 and first.setdefault(text, body) != body
    print(f"reload: {collections.Counter(reloaded)} of {args.times}; answers {dict(statuses)} from {len(loads)} loads; "
          f"{differ} differ from the first of their text; exit code {code}")
    return set(statuses) == {200} and differ == 0 and code == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("batchwright")
    parser.add_argument("model")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    args = parser.parse_args()
    whole = [stops(args), reloads(args)]
    sys.exit(0 if all(whole) else 1)


main()
