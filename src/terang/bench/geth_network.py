"""A network of geth signers on this machine, from the files that `terang chain network` writes."""

import os
import random
import socket
import subprocess
from pathlib import Path

from terang.ledger.network import NetworkPlan, write_network
from terang.ledger.rpc_chain import RpcChain
from terang.values.errors import ChainError

__all__ = ["GethNetwork"]

_FIRST_PORTS = (30303, 8545, 8551)


class GethNetwork:
    """Signers that can be started and killed one by one; they are numbered from 0."""

    def __init__(self, folder: Path, geth: Path, *, signers: int = 3, funded: tuple[bytes, ...] = ()) -> None:
        self.folder, self.geth, self.signers = folder, geth, signers
        self.offset = _free_offset(signers)
        plan = NetworkPlan(
            engine="geth",
            hosts=("127.0.0.1",) * signers,
            chain_id=20_262,
            timestamp_s=1_763_600_000,
            period_s=1,
            funded=funded,
            offset=self.offset,
        )
        write_network(folder, plan)
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._chains: list[RpcChain] = []

    def url(self, number: int) -> str:
        """The JSON-RPC of a signer."""
        return f"http://127.0.0.1:{8545 + self.offset + number}"

    def chain(self, number: int) -> RpcChain:
        """A connection to a signer."""
        made = RpcChain(self.url(number), timeout_s=10)
        self._chains.append(made)
        return made

    def start(self, *numbers: int) -> "GethNetwork":
        """Start these signers, or all."""
        for number in numbers or range(self.signers):
            folder = self.folder / f"node{number + 1}"
            log = (folder / "log").open("ab")
            environment = {**os.environ, "GETH": str(self.geth)}
            self.processes[number] = subprocess.Popen([folder / "start.sh"], env=environment, stdout=log, stderr=log)
            log.close()
        return self

    def kill(self, number: int) -> None:
        """End a signer at once, as a power cut does."""
        process = self.processes.pop(number)
        process.kill()
        process.wait()

    def height(self, number: int) -> int:
        """The number of a signer's newest block, -1 while it does not answer."""
        try:
            block = self.chain(number).block("latest")
        except ChainError:
            return -1
        return -1 if block is None else block.number

    def close(self) -> None:
        """End all of them."""
        for number in list(self.processes):
            self.kill(number)
        for chain in self._chains:
            chain.close()


def _free_offset(signers: int) -> int:
    """An offset at which every port of every signer is free."""
    draw = random.Random(os.getpid())  # noqa: S311 ports, no secrets
    while True:
        offset = draw.randrange(1000, 30_000, 20)
        ports = [first + offset + number for first in _FIRST_PORTS for number in range(signers)]
        try:
            for port in ports:
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return offset
