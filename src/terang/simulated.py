"""The simulated meters and the device that reads them, as processes of a demo."""

import logging
import os
from dataclasses import replace
from pathlib import Path

from terang.edge.agent import run_agent
from terang.edge.config import load_config
from terang.kits.meter.simulator import SimulatorOptions, run_simulator
from terang.serve.child import REFUSED, end_with_parent, speak_as
from terang.values.errors import TerangError

__all__ = ["run_device", "run_meters"]

_log = logging.getLogger(__name__)


def run_meters(directory: Path, options: SimulatorOptions) -> None:
    """The main function of the simulated meters' process."""
    end_with_parent()
    run_simulator(directory, replace(options, parent=os.getppid()))


def run_device(folder: Path) -> None:
    """The main function of the device's process: the same agent as on a Raspberry Pi."""
    end_with_parent()
    speak_as("device")
    try:
        run_agent(load_config(folder / "device.toml"))
    except TerangError as error:
        _log.error("%s", error)
        raise SystemExit(REFUSED) from error
