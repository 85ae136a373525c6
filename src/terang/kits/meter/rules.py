"""What a PZEM-004T cannot mean, even in an answer whose checksum is right.

A frame with a right checksum may come from another kind of device, or hold a wrong value; such an answer is refused on
the edge, counted, and shown with its reason. README.md explains the reasons.

Portable: runs under MicroPython too.
"""

from terang.kits.meter.model import COUNTER_END_MWH, POWER_MW_MAX, limit_mwh

__all__ = ["CURRENT_MA_MAX", "REASONS", "product_tolerance_mw", "refusal", "remember"]

CURRENT_MA_MAX = 100000
_VOLTAGE_MV = (80000, 260000)
_FREQUENCY_MILLIHZ = (45000, 65000)
_POWER_FACTOR_MAX = 1000

REASONS = ("voltage", "frequency", "current", "power", "factor", "product", "energy")
"""Every word that a refusal may begin with."""

# One step of each register, in the unit of its quantity, and what the chip does not show yet when a load is tiny.
_VOLTAGE_STEP_MV = 100
_CURRENT_STEP_MA = 1
_POWER_STEP_MW = 100
_FACTOR_STEP = 10
_START_MW = 400
# V, I and P are each right to 0.5 %; together with what changes between their moments 2 % covers every recorded frame.
_ACCURACY_PERCENT = 2
_FRAMES_KEPT = 2


def refusal(values: tuple[int, ...], now_ms: int, recent: tuple[tuple[int, int], ...]) -> tuple[str, str] | None:
    """None where the answer is plausible, else (reason, detail).

    `values`: voltage [mV], current [mA], power [mW], energy [mWh], frequency [mHz], power factor [permille].
    `now_ms`: a clock that is never set. `recent`: what `remember` made of the answers before, refused ones too, so that
    a counter which really stands elsewhere is taken at its second answer; () at the start.
    """
    voltage_mv, current_ma, power_mw, energy_mwh, frequency_millihz, factor = values
    if voltage_mv and not _VOLTAGE_MV[0] <= voltage_mv <= _VOLTAGE_MV[1]:
        return "voltage", str(voltage_mv) + " mV"
    if not _FREQUENCY_MILLIHZ[0] <= frequency_millihz <= _FREQUENCY_MILLIHZ[1] and (voltage_mv or frequency_millihz):
        return "frequency", str(frequency_millihz) + " mHz"
    if not 0 <= current_ma <= CURRENT_MA_MAX:
        return "current", str(current_ma) + " mA"
    if not 0 <= power_mw <= POWER_MW_MAX:
        return "power", str(power_mw) + " mW"
    if not 0 <= factor <= _POWER_FACTOR_MAX:
        return "factor", str(factor) + " permille"
    product_mw = voltage_mv * current_ma * factor // 1000000
    if abs(power_mw - product_mw) > product_tolerance_mw(voltage_mv, current_ma, power_mw, factor):
        return "product", str(power_mw) + " mW is not " + str(product_mw) + " mW"
    return _energy_refusal(energy_mwh, now_ms, recent)


def product_tolerance_mw(voltage_mv: int, current_ma: int, power_mw: int, factor: int) -> int:
    """How far power may lie from voltage x current x power factor [mW].

    d(V I f) = dV I f + V dI f + V I df with one step of each register for dV, dI and df, one step of the power
    register, the 0.4 W below which the chip shows nothing, and 2 % for accuracy. At 220 V and 1 A with power factor 1
    that is 7.4 W: 0.1 + 0.22 + 2.2 + 0.1 + 0.4 + 4.4.
    """
    product_mw = voltage_mv * current_ma * factor // 1000000
    steps = (
        _VOLTAGE_STEP_MV * current_ma * factor
        + voltage_mv * _CURRENT_STEP_MA * factor
        + voltage_mv * current_ma * _FACTOR_STEP
    ) // 1000000
    return steps + _POWER_STEP_MW + _START_MW + max(power_mw, product_mw) * _ACCURACY_PERCENT // 100


def remember(recent: tuple[tuple[int, int], ...], now_ms: int, energy_mwh: int) -> tuple[tuple[int, int], ...]:
    """`recent` with this answer's counter, whether it was taken or refused; the last two are kept."""
    return (recent + ((now_ms, energy_mwh),))[-_FRAMES_KEPT:]


def _energy_refusal(energy_mwh: int, now_ms: int, recent: tuple[tuple[int, int], ...]) -> tuple[str, str] | None:
    """The counter ends below 10,000 kWh, and a rise must be possible since one of the answers before.

    A fall is a fact, which the register deals with.
    """
    if energy_mwh >= COUNTER_END_MWH:
        return "energy", str(energy_mwh) + " mWh is beyond the counter's end"
    for then_ms, then_mwh in recent:
        if energy_mwh - then_mwh <= limit_mwh(then_ms, now_ms):
            return None
    if not recent:
        return None
    return "energy", str(energy_mwh - recent[-1][1]) + " mWh in " + str(now_ms - recent[-1][0]) + " ms"
