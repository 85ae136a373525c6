"""kill -9 at random moments."""

import random
import subprocess
import sys
import threading
from pathlib import Path

CHILD = Path(__file__).with_name("sealing_child.py")


def test_no_acknowledged_block_is_lost(make_house, soak):
    """However often the sealing process is killed, each block it told of is there, whole, with its transactions."""
    house = make_house(kept_heads=8)
    house.chain.close()
    dice = random.Random(20_261)
    told: list[list[str]] = []
    for _ in range(soak(100, 6)):
        told += killed_run(house.directory, blocks=dice.randrange(1, 15), then_s=dice.uniform(0, 0.03))
    view = make_house()
    view.clock.set_now_ms(4_000_000_000_000)
    assert view.chain.verify(view.clock.now_ms() // 1000) >= len(told) > 0
    numbers = [int(number) for number, *_ in told]
    assert numbers == sorted(set(numbers))
    for number, block_hash, *tx_hashes in told:
        block = view.chain.block(int(number))
        assert block is not None
        assert block.hash.hex() == block_hash
        assert [tx_hash.hex() for tx_hash in block.tx_hashes] == tx_hashes
    print(f"{len(told)} blocks told of, none lost")


def killed_run(directory: Path, *, blocks: int, then_s: float) -> list[list[str]]:
    """What the child told before it was killed: some time after its `blocks`-th block."""
    child = subprocess.Popen([sys.executable, CHILD, directory], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines = [line for line, _ in zip(child.stdout, range(blocks), strict=False)]
    # Not a wait for anything: the point is a moment that nobody chose.
    threading.Event().wait(then_s)
    child.kill()
    lines += child.stdout.readlines()
    child.stdout.close()
    child.wait()
    return [line.split() for line in lines if line.endswith("\n")]
