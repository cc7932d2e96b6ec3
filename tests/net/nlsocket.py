"""nlsocket.py: the socket by which a running sluiced hears of the kernel's changes, for tests that take away what it should hear."""
import contextlib
import ctypes
import os
import socket

PIDFD_GETFD = 438


def events_socket(pid, group=7):
    """A copy of the daemon's socket of rtnetlink events, by one of its groups: RTNLGRP_IPV4_ROUTE, RTNLGRP_NEIGH (3)."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
                continue
            pidfd = os.pidfd_open(pid)
            fd = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, int(name), 0)
            os.close(pidfd)
            s = socket.socket(fileno=fd)
            if s.family == socket.AF_NETLINK and s.getsockname()[1] & 1 << group - 1:
                return s
            s.close()
    raise AssertionError(f"sluiced has no socket of events of group {group}")
