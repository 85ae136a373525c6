"""What can be measured, with its unit, its code in an envelope and the range beyond which a value is implausible.

Portable: runs under MicroPython too.
"""

from collections import namedtuple

__all__ = [
    "BY_CODE",
    "BY_NAME",
    "CURRENT_MA",
    "ENERGY_MWH",
    "FREQUENCY_MILLIHZ",
    "POWER_FACTOR_PERMILLE",
    "POWER_MW",
    "QUANTITIES",
    "VOLTAGE_MV",
    "Quantity",
]

Quantity = namedtuple("Quantity", ("code", "name", "unit", "minimum", "maximum"))
"""A measured kind: `code` in envelopes, `name` ending in its unit, plausible `minimum` and `maximum` in that unit."""

VOLTAGE_MV = 1
CURRENT_MA = 2
POWER_MW = 3
ENERGY_MWH = 4
FREQUENCY_MILLIHZ = 5
POWER_FACTOR_PERMILLE = 6

# Ranges of the PZEM-004T v3 with the 100 A transformer, the widest meter there is today. The power range is both ways
# because a clamp put on the wrong way round is a fact worth storing. The energy register is the meter's own counter.
QUANTITIES = (
    Quantity(VOLTAGE_MV, "voltage_mv", "mV", 0, 300000),
    Quantity(CURRENT_MA, "current_ma", "mA", 0, 100000),
    Quantity(POWER_MW, "power_mw", "mW", -26000000, 26000000),
    Quantity(ENERGY_MWH, "energy_mwh", "mWh", 0, 4294967295000),
    Quantity(FREQUENCY_MILLIHZ, "frequency_millihz", "mHz", 0, 65000),
    Quantity(POWER_FACTOR_PERMILLE, "power_factor_permille", "permille", 0, 1000),
)

BY_CODE = {quantity.code: quantity for quantity in QUANTITIES}
BY_NAME = {quantity.name: quantity for quantity in QUANTITIES}
