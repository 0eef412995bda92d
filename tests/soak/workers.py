"""What the clients of the soak do, each on a thread of its own until it is told to stop."""

import random
import threading
import time

import grpc

import attacks
import hostile_methods
import hostile_requests
from hostile_test import caller
from reload_soak import reload_by_rpc
from wire import chunk, raw, request, shape

INFER = "/inference.GRPCInferenceService/ModelInfer"
OWN = [("grpc.use_local_subchannel_pool", 1)]


class Worker:
    """Calls step() again and again; counts them, and notes what was wrong."""

    name = "nothing"

    def __init__(self, server, stop):
        self.server, self.stop = server, stop
        self.done, self.problems = 0, []
        self.random = random.Random(1)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        try:
            self.begin()
            while not self.stop.is_set():
                self.step()
                self.done += 1
        except Exception as error:  # whatever it is: the soak has found something
            self.problems.append(f"{self.name}: {type(error).__name__}: {error}")

    def begin(self):
        pass

    def step(self):
        raise NotImplementedError


def digits_request(rows):
    return request(chunk(5, chunk(1, "x") + chunk(2, "FP32") + shape(rows, 64)), raw(rows * 64 * 4),
                   model="digits")


class Cancellations(Worker):
    """Requests that are cancelled at random moments, some of them before they have gone out."""

    name = "cancelled requests"

    def begin(self):
        self.infer = grpc.insecure_channel(self.server.grpc_address, options=OWN).unary_unary(INFER)

    def step(self):
        futures = [self.infer.future(digits_request(self.random.choice([1, 16, 300])), timeout=30)
                   for _ in range(8)]
        time.sleep(self.random.random() * 0.005)
        for future in futures:
            future.cancel()


class Deadlines(Worker):
    """Requests with so little time that some are answered and some are not."""

    name = "requests with short deadlines"

    def begin(self):
        self.infer = grpc.insecure_channel(self.server.grpc_address, options=OWN).unary_unary(INFER)

    def step(self):
        expected = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        future = self.infer.future(digits_request(self.random.choice([1, 64])),
                                   timeout=self.random.random() * 0.03)
        code = future.code()
        if code != grpc.StatusCode.OK and code not in expected:
            self.problems.append(f"{self.name}: {code.name}: {future.details()}")


class Reloads(Worker):
    """A block that is loaded anew, with other weights each time."""

    name = "reloads"

    def __init__(self, server, stop, block):
        self.block = block
        super().__init__(server, stop)

    def begin(self):
        self.client = self.server.client()

    def step(self):
        reload_by_rpc(self.client, self.block, self.done + 2)
        time.sleep(0.05)


class HostileRequests(Worker):
    """Every row of the hostile tables, with the answer that it must get."""

    name = "hostile requests"

    def begin(self):
        call = caller(self.server)
        rows = [(INFER, message, code, text) for _, message, code, text in hostile_requests.table()]
        rows += [row[1:] for rows_of in (hostile_methods.rows_of_bytes, hostile_methods.rows_of_settings,
                                         hostile_methods.rows_of_other_services)
                 for row in rows_of()]
        self.call, self.rows = call, rows

    def step(self):
        method, message, code, text = self.rows[self.done % len(self.rows)]
        found = self.call(method, message)
        if found != (code, text):
            self.problems.append(f"{self.name}: expected {(code, text)}, found {found}")
        time.sleep(0.002)


class Connections(Worker):
    """Connections that are cut: idle, in the middle of a message, with calls that are reset."""

    name = "connections that were cut"

    def step(self):
        kind = self.done % 3
        if kind == 0:
            link = attacks.connect(self.server.grpc_address)
        elif kind == 1:
            link = attacks.http2(self.server.grpc_address)
            link.sendall(attacks.frame(attacks.HEADERS, attacks.END_HEADERS, 1, attacks.call_headers()) +
                         attacks.frame(attacks.DATA, 0, 1, b"\0\0\1\0\0" + bytes(1000)))
        else:
            attacks.rapid_reset(self.server.grpc_address, 5, most=200)
            link = attacks.connect(self.server.http_address)
            link.sendall(b"GET /metrics HTTP/1.1\r\n")
        time.sleep(0.02)
        link.close()
