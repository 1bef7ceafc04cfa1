"""A stand-in for the Kubernetes API: Lease objects with resourceVersion and conflict, over plain HTTP."""
from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class LeaseApi:
    """objects by path; fail(n, status) makes the next n calls fail; delay is in seconds.

    lose_answers: the next n PUTs are executed, but their answer is an error; refused: methods the account may not use.
    """

    def __init__(self, token: str = "a-token"):
        self.token, self.objects, self.calls, self.version = token, {}, [], 1
        self.failures, self.lose_answers, self.refused, self.lock = [], 0, (), threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def reply(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def serve(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
                with outer.lock:
                    outer.calls.append((self.command, self.path))
                    self.reply(*outer.answer(self.command, self.path, body, self.headers.get("Authorization")))

            do_GET = do_PUT = do_POST = serve

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def fail(self, n: int, status: int) -> None:
        self.failures = [status] * n

    def put_object(self, namespace: str, name: str) -> str:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"
        self.objects[path] = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                              "metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"}}
        return path

    def answer(self, method, path, body, authorization):
        if authorization != f"Bearer {self.token}":
            return 401, {"message": "Unauthorized"}
        if self.failures:
            return self.failures.pop(), {"message": "made to fail"}
        if method in self.refused:
            return 403, {"message": "made to be refused"}
        if method == "POST":
            path += "/" + body["metadata"]["name"]
            if path in self.objects:
                return 409, {"message": "already exists"}
        elif path not in self.objects:
            return 404, {"message": "not found"}
        elif method == "GET":
            return 200, self.objects[path]
        elif body["metadata"].get("resourceVersion") != self.objects[path]["metadata"]["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = body
        if self.lose_answers:
            self.lose_answers -= 1
            return 504, {"message": "made to get lost"}
        return 200, body

    def __enter__(self) -> "LeaseApi":
        self.thread.start()
        return self

    def __exit__(self, *exc) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)
