"""Bring up `lo` in this network namespace, without depending on iproute2."""

import fcntl
import socket
import struct

GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 0x1

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
    asked = struct.pack("16sh14x", b"lo", 0)
    (flags,) = struct.unpack("16xh14x", fcntl.ioctl(handle, GET_FLAGS, asked))
    fcntl.ioctl(handle, SET_FLAGS, struct.pack("16sh14x", b"lo", flags | UP))
