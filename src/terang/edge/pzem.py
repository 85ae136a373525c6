"""The meters that the agent reads when nobody says otherwise: PZEM-004T v3 on Modbus lines, by the meter kit."""

from terang.edge.bus_reader import MeterKind
from terang.kits.meter import KIT
from terang.kits.meter.device import Bus
from terang.values.quantity import POWER_MW

__all__ = ["PZEM"]

PZEM = MeterKind(open_bus=Bus, quantities=KIT.quantities, power_at=KIT.quantities.index(POWER_MW))
"""The kit's door refuses implausible answers itself, so no rule is added here."""
