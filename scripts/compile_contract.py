"""Compile contracts/anchor.vy into the artifact that the package ships; with --check only say whether it is current."""

import json
import sys
from pathlib import Path
from typing import Any

import vyper
from vyper.compiler import compile_code

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "contracts" / "anchor.vy"
ARTIFACT = ROOT / "src" / "terang" / "ledger" / "artifacts" / "anchor.json"


def compile_artifact() -> str:
    """The artifact as the installed compiler makes it."""
    out: dict[str, Any] = compile_code(
        SOURCE.read_text(encoding="utf-8"), output_formats=["abi", "bytecode", "bytecode_runtime"]
    )
    artifact = {
        "contract": SOURCE.name,
        "compiler": f"vyper {vyper.__version__}",
        "evm_version": "london",
        "abi": out["abi"],
        "bytecode": out["bytecode"],
        "runtime": out["bytecode_runtime"],
    }
    return json.dumps(artifact, indent=1) + "\n"


def main(arguments: list[str]) -> int:
    """Write the artifact, or compare it; 1 when a comparison fails."""
    made = compile_artifact()
    if arguments == ["--check"]:
        if ARTIFACT.read_text(encoding="utf-8") == made:
            return 0
        print(f"{ARTIFACT} is not what {SOURCE.name} compiles to; run scripts/compile_contract.py")
        return 1
    ARTIFACT.parent.mkdir(parents=True, exist_ok=True)
    ARTIFACT.write_text(made, encoding="utf-8")
    print(f"wrote {ARTIFACT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
