"""Resolves the names in a hosts file of the test's own, as the system does those in /etc/hosts.

Loaded by Python itself before the client starts (PYTHONPATH), so that the clients run unmodified
and the machine's own hosts file stays untouched. The file is written by `custody trust hosts`.
"""

import os
import socket

_system = socket.getaddrinfo


def _address(host):
    with open(os.environ["CUSTODY_TEST_HOSTS"], encoding="utf-8") as lines:
        for line in lines:
            address, *names = line.split("#", 1)[0].split() or [""]
            if host in names:
                return address
    return host


def _getaddrinfo(host, *arguments, **keywords):
    return _system(_address(host) if isinstance(host, str) else host, *arguments, **keywords)


if "CUSTODY_TEST_HOSTS" in os.environ:
    socket.getaddrinfo = _getaddrinfo
