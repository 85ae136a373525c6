"""A device's program for the tests: the real agent, reading meters that the test serves over a Unix socket."""

import socket
import struct
import sys
from pathlib import Path

from terang.edge.agent import run_agent
from terang.edge.bus_reader import MeterKind
from terang.edge.config import load_config
from terang.values.errors import BusError, FrameError, TerangError

ANSWER = struct.Struct(">6q")


class SocketBus:
    """A bus whose port is `path#number`; an answer is six numbers, one byte refuses, none is silence."""

    def __init__(self, port: str) -> None:
        path, _, self._number = port.partition("#")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(1.0)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise BusError(f"{port} cannot be opened: {error.strerror}") from error

    def read(self, address: int) -> tuple[int, ...]:
        try:
            self._socket.sendall(f"{self._number} {address}\n".encode())
            data = self._socket.recv(ANSWER.size)
        except OSError as error:
            raise BusError("nothing came") from error
        if not data:
            raise BusError("the line is closed")
        if len(data) == 1:
            raise FrameError("the CRC is wrong")
        return ANSWER.unpack(data)

    def close(self) -> None:
        self._socket.close()


def implausible(values: tuple[int, ...]) -> str:
    """A word for what a meter cannot have measured."""
    return "current" if values[1] > 100_000 else ""


KIND = MeterKind(open_bus=SocketBus, quantities=(1, 2, 3, 4, 5, 6), power_at=2, implausible=implausible)

if __name__ == "__main__":
    try:
        config = load_config(Path(sys.argv[1]))
        if "#" not in config.buses[0].port:
            run_agent(config)
        else:
            run_agent(config, KIND)
    except TerangError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
