# Shuts down every listening socket of a process that the caller owns, as a failing network stack would. Arguments:
# the process id; optionally a port that this program binds before the process can, and the number of seconds to hold
# it.
import ctypes
import os
import socket
import sys
import time

pid = int(sys.argv[1])
process = os.pidfd_open(pid)
libc = ctypes.CDLL(None, use_errno=True)
for name in os.listdir(f"/proc/{pid}/fd"):
    if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
        continue
    descriptor = libc.syscall(438, process, int(name), 0)  # pidfd_getfd
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    with socket.socket(fileno=descriptor) as one:
        if one.family != socket.AF_UNIX and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            one.shutdown(socket.SHUT_RDWR)

if len(sys.argv) > 2:
    port, seconds = int(sys.argv[2]), float(sys.argv[3])
    until = time.monotonic() + 10
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
    print("taken", flush=True)
    time.sleep(seconds)
