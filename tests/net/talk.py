"""talk.py: the two ends of a conversation, as sockets in two namespaces of a Lab. Contents are compared, not just counted."""
import contextlib
import hashlib
import os
import socket
import threading

CHUNK = os.urandom(1 << 20)


class Thread(threading.Thread):
    """join() raises what the thread raised, and gives what it returned."""

    def __init__(self, fn, *args):
        super().__init__(daemon=True)
        self.fn, self.args, self.result, self.error = fn, args, None, None
        self.start()

    def run(self):
        try:
            self.result = self.fn(*self.args)
        except Exception as e:  # pylint: disable=broad-except
            self.error = e

    def join(self, timeout=60):
        super().join(timeout)
        if self.is_alive():
            raise TimeoutError(f"{self.fn.__name__}: no end after {timeout} s")
        if self.error:
            raise self.error
        return self.result


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp_server(ns, family, port, fn):
    """Accepts one connection and runs fn(socket, peer address) on it, in a thread."""
    listener = ns.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen(16)

    def serve():
        with listener:
            s, peer = listener.accept()
        with s:
            s.settimeout(30)
            return fn(s, peer[:2])
    return Thread(serve)


def echo_words(n, size=4):
    """For tcp_server: answers n words of `size` bytes each with itself."""
    def serve(s, peer):
        for _ in range(n):
            s.sendall(s.recv(size, socket.MSG_WAITALL))
        return peer
    return serve


def tcp_connect(ns, address, port):
    s = ns.socket(family_of(address))
    try:
        s.connect((address, port))
    except OSError:
        s.close()
        raise
    s.settimeout(30)
    return s


def tcp_transfer(client, server, address, port=9000, size=16 << 20, listen=None):
    """Sends `size` bytes from client to `address`:`port` (behind which `server` listens on `listen` or the same port), and a
    hash of them back. Returns (whether the content was the same, the peer the server saw)."""
    def take(s, peer):
        h, n = hashlib.sha256(), 0
        while n < size:
            data = s.recv(1 << 18)
            if not data:
                break
            h.update(data)
            n += len(data)
        s.sendall(h.digest())
        return peer

    t = tcp_server(server, family_of(address), listen or port, take)
    with tcp_connect(client, address, port) as s:
        h, n = hashlib.sha256(), 0
        while n < size:
            part = CHUNK[:min(len(CHUNK), size - n)]
            s.sendall(part)
            h.update(part)
            n += len(part)
        answer = b""
        while len(answer) < 32:
            got = s.recv(32 - len(answer))
            if not got:
                break
            answer += got
    return answer == h.digest(), t.join()


def udp(ns, address="", port=0, timeout=0.5):
    """A socket for datagrams that is bound there."""
    s = ns.socket(family_of(address), socket.SOCK_DGRAM)
    s.bind((address, port))
    s.settimeout(timeout)
    return s


def heard(s):
    """(bytes, from whom); None: nothing came in the socket's time."""
    try:
        return s.recvfrom(2000)
    except TimeoutError:
        return None


class UdpEcho:
    """Answers every datagram with itself; `peers` are the addresses it heard from."""

    def __init__(self, ns, port, family=socket.AF_INET, bind=""):
        self.s = ns.socket(family, socket.SOCK_DGRAM)
        self.s.bind((bind, port))
        self.s.settimeout(0.2)
        self.peers, self.stop = [], False
        self.thread = Thread(self._serve)

    def _serve(self):
        while not self.stop:
            with contextlib.suppress(TimeoutError):
                data, peer = self.s.recvfrom(65535)
                self.peers.append(peer[:2])
                self.s.sendto(data, peer)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop = True
        self.thread.join()
        self.s.close()


def udp_ask(ns, address, port, payload, timeout=3.0, tries=3):
    """Sends a datagram and gives the answer's content, or None."""
    with ns.socket(family_of(address), socket.SOCK_DGRAM) as s:
        s.connect((address, port))
        s.settimeout(timeout / tries)
        for _ in range(tries):
            s.send(payload)
            with contextlib.suppress(TimeoutError):
                return s.recv(65535)
    return None
