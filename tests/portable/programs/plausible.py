"""Which answers of a meter its rules refuse; runs under CPython and MicroPython, which must agree.

A case is a list of answers of one meter, each (now_ms, the six values).
"""

from terang.kits.meter import rules


def answer(case):
    """What is said of each answer, remembering those before."""
    recent: tuple[tuple[int, int], ...] = ()
    said: list[object] = []
    for now_ms, values in case:
        voltage_mv, current_ma, power_mw, energy_mwh, _, factor = values
        tolerance_mw = rules.product_tolerance_mw(voltage_mv, current_ma, power_mw, factor)
        said.append([rules.refusal(tuple(values), now_ms, recent), tolerance_mw])
        recent = rules.remember(recent, now_ms, energy_mwh)
    return said
