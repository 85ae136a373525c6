"""What the core needs to know beside its settings."""

from dataclasses import dataclass

from terang.ingest.session import BrokerAddress
from terang.settings import Settings

__all__ = ["CorePlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorePlan:
    """Where the broker is, the seeds of the platform's and the checkpoint's key, and the site's id (32 bytes)."""

    settings: Settings
    broker: BrokerAddress
    platform_seed: bytes
    checkpoint_seed: bytes
    site: bytes
