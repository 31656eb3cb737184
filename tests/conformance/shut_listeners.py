# Shuts down every listening socket of a process that the caller owns, as a failing network stack would. Arguments:
# the process id; optionally a port that this program binds before the process can, and the number of seconds to hold
# it.
import ctypes
import errno
import os
import socket
import sys
import time

pid = int(sys.argv[1])
process = os.pidfd_open(pid)
libc = ctypes.CDLL(None, use_errno=True)


def is_socket(name):
    try:
        return os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    except FileNotFoundError:  # closed since it was listed
        return False


def shut_listeners():
    listeners = []
    # All are found before the first is shut down: one that is opened again is another one.
    for name in os.listdir(f"/proc/{pid}/fd"):
        if not is_socket(name):
            continue
        descriptor = libc.syscall(438, process, int(name), 0)  # pidfd_getfd
        if descriptor < 0:
            if ctypes.get_errno() == errno.EBADF:  # closed since it was listed
                continue
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        one = socket.socket(fileno=descriptor)
        if one.family != socket.AF_UNIX and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            listeners.append(one)
        else:
            one.close()
    for one in listeners:
        one.shutdown(socket.SHUT_RDWR)
        one.close()


shut_listeners()
if len(sys.argv) > 2:
    port, seconds = int(sys.argv[2]), float(sys.argv[3])
    until = time.monotonic() + 30
    again = time.monotonic() + 1
    while True:
        # SO_REUSEADDR allows connections that still use the port. Without SO_REUSEPORT no other process can listen on
        # it.
        holder = socket.socket()
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", port))
            holder.listen()
            break
        except OSError:
            holder.close()
            if time.monotonic() > until:
                raise
            # On a busy machine the process may have been faster.
            if time.monotonic() > again:
                shut_listeners()
                again = time.monotonic() + 1
    print("taken", flush=True)
    time.sleep(seconds)
