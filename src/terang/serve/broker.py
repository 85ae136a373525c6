"""The broker's process: amqtt in this process, or mosquitto as its child."""

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from terang.ingest.embedded_broker import run_broker
from terang.ingest.mosquitto import find_mosquitto, mosquitto_config
from terang.serve.child import REFUSED, end_with_parent, speak_as
from terang.settings import Settings
from terang.values.errors import TerangError

__all__ = ["run_embedded", "run_mosquitto"]

_log = logging.getLogger(__name__)


def run_embedded(settings: Settings) -> None:
    """The main function of the embedded broker's process: until SIGTERM, or until the parent is gone."""
    end_with_parent()
    speak_as("broker")
    try:
        asyncio.run(_until_told(settings))
    except TerangError as error:
        _log.error("%s", error)
        raise SystemExit(REFUSED) from error


async def _until_told(settings: Settings) -> None:
    task = asyncio.ensure_future(
        run_broker(host=settings.broker_host, port=settings.broker_port, credentials=settings.broker_dir)
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return


def run_mosquitto(settings: Settings) -> None:
    """Run mosquitto as a child that is told when its logins changed; it cannot read them by itself."""
    directory = settings.broker_dir.resolve()
    path = directory / "mosquitto.conf"
    path.write_text(
        mosquitto_config(host=settings.broker_host, port=settings.broker_port, directory=directory)
        + ("user root\n" if os.geteuid() == 0 else "")
    )
    process = subprocess.Popen([find_mosquitto(), "-c", str(path)], preexec_fn=_die_with_parent, process_group=0)  # noqa: PLW1509
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    threading.Thread(target=_tell_of_logins, args=(process, directory / "passwd"), daemon=True).start()
    end_with_parent()
    speak_as("broker")
    code = process.wait()
    if code > 0:
        where = f"{settings.broker_host}:{settings.broker_port}"
        _log.error("mosquitto ended (%s); if its address is in use, choose another broker_port than %s", code, where)
    raise SystemExit(REFUSED if code > 0 else code)


def _die_with_parent() -> None:
    """Linux: the kernel kills mosquitto when this wrapper is gone, or it would keep the port for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _tell_of_logins(process: "subprocess.Popen[bytes]", passwords: Path) -> None:
    known = passwords.stat().st_mtime_ns
    while True:
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            stamp = passwords.stat().st_mtime_ns
            if stamp != known:
                known = stamp
                process.send_signal(signal.SIGHUP)
        else:
            return
