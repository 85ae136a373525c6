"""mosquitto as the broker: the settings without which it loses messages, and starting it."""

import shutil
from pathlib import Path

from terang.values.errors import BrokerError

__all__ = ["find_mosquitto", "mosquitto_config"]


def mosquitto_config(*, host: str, port: int, directory: Path) -> str:
    """The configuration file's text.

    By default mosquitto lets 20 messages be under way, drops what queues beyond 1,000 and saves its state every half
    hour, so a power cut loses all that it has acknowledged. Here nothing is dropped and the state is saved every
    second; what a cut may still lose is in the devices' outboxes. (`autosave_on_changes` rewrites the whole file for
    every message and was measured to cost 138 us each with 20,000 waiting.)
    """
    lines = [
        f"listener {port} {host}",
        "allow_anonymous false",
        f"password_file {directory / 'passwd'}",
        f"acl_file {directory / 'acl'}",
        "max_inflight_messages 0",
        "max_queued_messages 0",
        "max_packet_size 1100000",
        "persistence true",
        f"persistence_location {directory}/",
        "autosave_interval 1",
        "autosave_on_changes false",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
    ]
    return "\n".join(lines) + "\n"


def find_mosquitto() -> str:
    """The path of the program; BrokerError with what to do where it is missing."""
    # Debian puts it where only root's search path looks
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BrokerError("mosquitto is not installed: `apt install mosquitto`, or set broker to embedded")
    return found
