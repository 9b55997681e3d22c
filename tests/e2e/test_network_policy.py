"""--allow-out and --allow-in: what they let pass works, everything else gives EPERM; wrong rules are refused with a line."""
import socket
import threading
import unittest

from harness import UslTest


class Server:
    """Answers every connection and datagram on an address of this host with its own address."""

    def __init__(self, address, kind=socket.SOCK_STREAM):
        self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        self.socket.bind((address, 0))
        self.port = self.socket.getsockname()[1]
        self.address = address
        if kind == socket.SOCK_STREAM:
            self.socket.listen()
        threading.Thread(target=self.serve if kind == socket.SOCK_STREAM else self.echo, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection = self.socket.accept()[0]
            except OSError:
                return
            with connection:
                connection.sendall(self.address.encode())

    def echo(self):
        while True:
            try:
                _, sender = self.socket.recvfrom(100)
            except OSError:
                return
            if not sender:
                return
            self.socket.sendto(self.address.encode(), sender)

    def close(self):
        # accept(2) and recvfrom(2) do not end by close(2).
        self.socket.shutdown(socket.SHUT_RDWR) if self.socket.type == socket.SOCK_STREAM else None
        self.socket.close()


# Prints what connecting (or asking by a datagram) came to, one word for each ADDRESS/PORT/KIND.
CLIENT = """
import errno, socket, sys
for word in sys.argv[1:]:
    address, port, kind = word.split("/")
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    s.settimeout(20)
    try:
        if kind == "udp":
            s.sendto(b"?", (address, int(port)))
        else:
            s.connect((address, int(port)))
        print(s.recv(100).decode())
    except OSError as error:
        print(errno.errorcode[error.errno])
"""

LISTENER = """
import errno, socket, sys
for word in sys.argv[1:]:
    address, port, kind = word.split("/")
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    try:
        s.bind((address, int(port)))
        if kind == "tcp":
            s.listen()
        print("listens")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class NetworkPolicy(UslTest):
    def server(self, address, kind=socket.SOCK_STREAM):
        server = Server(address, kind)
        self.addCleanup(server.close)
        return server

    def words(self, program, words, *options):
        return self.check(self.guest("python3", "-c", program, *words, options=options)).split()

    def test_outgoing_by_address(self):
        one, two, six = self.server("127.0.0.1"), self.server("127.0.0.2"), self.server("::1")
        asked = [f"127.0.0.1/{one.port}/tcp", f"127.0.0.2/{two.port}/tcp", f"::1/{six.port}/tcp",
                 f"::ffff:127.0.0.1/{one.port}/tcp", f"0.0.0.0/{one.port}/tcp", f"192.0.2.1/80/tcp"]
        self.assertEqual(self.words(CLIENT, asked, "--allow-out", "127.0.0.2"),
                         ["EPERM", "127.0.0.2", "EPERM", "EPERM", "EPERM", "EPERM"])
        self.assertEqual(self.words(CLIENT, asked, "--allow-out", "127.0.0.1/32", "--allow-out", "[::1]"),
                         ["127.0.0.1", "EPERM", "::1", "127.0.0.1", "127.0.0.1", "EPERM"])
        self.assertEqual(self.words(CLIENT, asked, "--allow-out", "loopback"),
                         ["127.0.0.1", "127.0.0.2", "::1", "127.0.0.1", "127.0.0.1", "EPERM"])
        self.assertEqual(self.words(CLIENT, asked, "--allow-out", "none"), ["EPERM"] * 6)

    def test_outgoing_by_port_and_transport(self):
        tcp, other, udp = self.server("127.0.0.1"), self.server("127.0.0.1"), self.server("127.0.0.1", socket.SOCK_DGRAM)
        asked = [f"127.0.0.1/{tcp.port}/tcp", f"127.0.0.1/{other.port}/tcp", f"127.0.0.1/{udp.port}/udp"]
        self.assertEqual(self.words(CLIENT, asked, "--allow-out", f"any:{tcp.port},{udp.port}"),
                         ["127.0.0.1", "EPERM", "127.0.0.1"])
        self.assertEqual(self.words(CLIENT, asked, "--allow-out", "127.0.0.0/8/udp"), ["EPERM", "EPERM", "127.0.0.1"])
        self.assertEqual(self.words(CLIENT, asked, "--allow-out", "*/tcp"), ["127.0.0.1", "127.0.0.1", "EPERM"])

    def test_listening(self):
        port, published, host_port = free_port(), free_port(), free_port()
        asked = [f"127.0.0.1/{port}/tcp", f"0.0.0.0/{port}/tcp", f"::/{port}/tcp", f"127.0.0.1/{port}/udp", "127.0.0.1/0/tcp",
                 f"127.0.0.1/{published}/tcp", "0.0.0.0/0/udp"]
        # A socket that sends may have a port that the host chose: the last.
        self.assertEqual(self.words(LISTENER, asked, "--allow-in", f"127.0.0.1:{port}/tcp", "-p", f"{host_port}:{published}"),
                         ["listens", "EPERM", "EPERM", "EPERM", "EPERM", "listens", "listens"])
        self.assertEqual(self.words(LISTENER, asked[:5], "--allow-in", "loopback"),
                         ["listens", "EPERM", "EPERM", "listens", "listens"])
        # Lists of one direction leave the other alone.
        self.assertEqual(self.words(LISTENER, asked[:1], "--allow-out", "none"), ["listens"])
        self.assertEqual(self.words(CLIENT, [f"127.0.0.1/{self.server('127.0.0.1').port}/tcp"], "--allow-in", "none"),
                         ["127.0.0.1"])

    def test_a_port_below_1024_is_known_by_the_guests_number(self):
        self.assertEqual(self.words(LISTENER, ["127.0.0.1/987/tcp"], "--allow-in", "127.0.0.1:987"), ["listens"])

    def test_everything_of_the_guests_own_works(self):
        program = """
import os, socket
a, b = socket.socketpair(); a.send(b"x"); assert b.recv(1) == b"x"
l = socket.socket(socket.AF_UNIX); l.bind("\\0name"); l.listen()
c = socket.socket(socket.AF_UNIX); c.connect("\\0name")
assert socket.if_nameindex()
try:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
except OSError as error:
    print(error.errno)
"""
        self.assertEqual(self.words(program, [], "--allow-out", "none", "--allow-in", "none"), ["93"])  # EPROTONOSUPPORT

    def test_wrong_rules(self):
        for option, rule in [("--allow-out", "example.org:443"), ("--allow-in", "127.0.0.1:"), ("--allow-out", "1.2.3.4/33"),
                             ("--allow-out", ""), ("--allow-in", "[::1:80")]:
            result = self.guest("true", options=(option, rule))
            self.assertEqual(result.returncode, 125, rule)
            self.assertIn(f'"{rule}" is no rule for addresses', result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1)
        result = self.guest("true", options=("--network", "none", "--allow-out", "any"))
        self.assertEqual(result.returncode, 125)
        self.assertIn("--network none", result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
