"""What the energy register makes of a history; runs under CPython and MicroPython, which must agree.

A case is (most power [mW], a list of stretches, each (times_ms, counters_mwh, voltages_mv)).
"""

from terang.kits.meter import model


def answer(case):
    """State and steps after each stretch, at once and reading by reading."""
    power_mw_max, stretches = case
    at_once: tuple[int, ...] = ()
    each: tuple[int, ...] = ()
    answers: list[object] = [model.limit_mwh(stretches[0][0][0], stretches[-1][0][-1], power_mw_max)]
    for times_ms, counters_mwh, voltages_mv in stretches:
        given = tuple(times_ms), tuple(counters_mwh), tuple(voltages_mv)
        at_once, steps = model.advance(at_once, *given, power_mw_max)
        each, each_steps = model.advance_each(each, *given, power_mw_max)
        answers.append([at_once, steps, each, each_steps])
    return answers
