"""ICMP echo: by the host's ping sockets, where net.ipv4.ping_group_range lets its user have some."""
import os
import pathlib
import subprocess
import unittest

from harness import USL, UslTest, user_command

# Echo requests from a datagram socket and from a raw one, IPv4 and IPv6: what came back, or the error.
PING = """
import errno, socket, struct
for family, protocol, request, address in ((socket.AF_INET, 1, 8, "127.0.0.1"), (socket.AF_INET6, 58, 128, "::1")):
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            s = socket.socket(family, kind, protocol)
            s.settimeout(20)
            s.sendto(struct.pack("!BBHHH", request, 0, 0, 77, 5) + b"payload", (address, 0))
            data, sender = s.recvfrom(100)
            print(sender[0], data[0], struct.unpack("!H", data[6:8])[0], data[8:].decode())
        except OSError as error:
            print(errno.errorcode[error.errno])
"""


def in_network_with_ping(command):
    """The command in a new network namespace whose users may all have ping sockets."""
    setup = 'ip link set lo up && echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range && exec "$@"'
    return ["unshare", "-n", "sh", "-c", setup, "sh", *command]


class Ping(UslTest):
    def ping(self, *options, wrap=lambda command: command):
        command = wrap(user_command([USL, "run", *options, "--", "python3", "-c", PING]))
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=120, cwd="/",
                              env=self.home.environment(), check=True).stdout.splitlines()

    def test_the_hosts_answer_where_it_permits_none(self):
        low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ping_group_range").read_text().split())
        if low <= high:
            self.skipTest("the host permits ping sockets")
        # Raw sockets are refused in any case, as to somebody without CAP_NET_RAW.
        self.assertEqual(self.ping(), ["EACCES", "EPERM"] * 2)

    def test_where_the_host_permits_them(self):
        if os.getuid() != 0 or subprocess.run(in_network_with_ping(["true"]), stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("needs root and network namespaces, to permit ping sockets in one")
        self.assertEqual(self.ping(wrap=in_network_with_ping), ["127.0.0.1 0 5 payload", "EPERM", "::1 129 5 payload", "EPERM"])
        self.assertEqual(self.ping("--allow-out", "127.0.0.1", wrap=in_network_with_ping)[::2],
                         ["127.0.0.1 0 5 payload", "EPERM"])
        # A rule for ports is none for ICMP.
        self.assertEqual(self.ping("--allow-out", "any:1-65535", wrap=in_network_with_ping)[::2], ["EPERM", "EPERM"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
