"""The PZEM-004T v3 on the wire: registers, units and the checksum of Modbus RTU.

Source: PZEM-004T-V3.0 data sheet; Modbus over serial line V1.02, section 2.5.1.2 for CRC-16.
Portable: runs under MicroPython too.
"""

import struct

__all__ = [
    "ADDRESS_MAX",
    "ADDRESS_REGISTER",
    "ALARM_REGISTER",
    "BROADCAST",
    "GENERAL_ADDRESS",
    "INPUT_REGISTERS",
    "crc16",
    "from_registers",
    "seal",
    "to_registers",
]

ADDRESS_MAX = 0xF7
BROADCAST = 0x00
GENERAL_ADDRESS = 0xF8
INPUT_REGISTERS = 10
ALARM_REGISTER = 0x0001
ADDRESS_REGISTER = 0x0002

_POLYNOMIAL = 0xA001


def _make_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ _POLYNOMIAL if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_TABLE = _make_table()


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS; on the wire its low byte goes first. The nine digits "123456789" give 0x4B37."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def seal(data: bytes) -> bytes:
    """The frame: `data` and its checksum."""
    return data + struct.pack("<H", crc16(data))


def from_registers(registers: tuple[int, ...]) -> tuple[int, ...]:
    """(voltage_mv, current_ma, power_mw, energy_mwh, frequency_millihz, power_factor_permille) of ten registers.

    32-bit values stand LOW word first; steps are 0.1 V, 1 mA, 0.1 W, 1 Wh, 0.1 Hz and 0.01.
    """
    voltage, current, current_high, power, power_high, energy, energy_high, frequency, factor, _ = registers
    return (
        voltage * 100,
        current | current_high << 16,
        (power | power_high << 16) * 100,
        (energy | energy_high << 16) * 1000,
        frequency * 100,
        factor * 10,
    )


def to_registers(values: tuple[int, ...], alarm: int = 0) -> tuple[int, ...]:
    """The ten registers in which a meter shows these six values; what is finer than its steps is cut off."""
    voltage_mv, current_ma, power_mw, energy_mwh, frequency_millihz, factor_permille = values
    power, energy = power_mw // 100, energy_mwh // 1000
    return (
        voltage_mv // 100,
        current_ma & 0xFFFF,
        current_ma >> 16,
        power & 0xFFFF,
        power >> 16,
        energy & 0xFFFF,
        energy >> 16,
        frequency_millihz // 100,
        factor_permille // 10,
        alarm,
    )
