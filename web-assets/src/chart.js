// Draws what a chart's data attribute holds. The sentence before it and the table behind it say the same.
"use strict";
(() => {
  const root = document.documentElement;
  const locale = root.dataset.locale;
  const zone = root.dataset.zone;
  root.classList.add("scripted");
  const drawn = new Map(); // place -> its uPlot

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const number = (value, decimals) =>
    new Intl.NumberFormat(locale, { maximumFractionDigits: decimals }).format(value);
  const format = (options) => {
    const made = new Intl.DateTimeFormat(locale, { hourCycle: "h23", timeZone: zone, ...options });
    return (seconds) => made.format(seconds * 1000);
  };
  const asClock = format({ hour: "2-digit", minute: "2-digit" });
  const asSeconds = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const asDay = format({ day: "numeric" });
  const asDate = format({ day: "numeric", month: "short" });

  // Three decimals are written, so no step is finer than a thousandth: two lines never carry one number.
  const steps = [];
  for (let power = -3; power < 7; power += 1) for (const digit of [1, 2, 5]) steps.push(Number(`${digit}e${power}`));

  function axes(data) {
    const style = { stroke: colour("--soft"), font: "12px Inter, system-ui, sans-serif" };
    const grid = { stroke: colour("--line"), width: 1 };
    const tick = data.step === "month" ? asDay : asClock;
    return [
      { ...style, grid: { show: false }, ticks: { show: false }, gap: 6, size: 28, space: data.step === "month" ? 34 : 56,
        incrs: data.step === "month" ? [86400, 172800, 432000, 604800] : [300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600],
        splits: data.kind === "bars" ? barSplits(data) : undefined,
        values: (_, splits) => splits.map(tick) },
      { ...style, grid, ticks: { show: false }, gap: 4, space: 44, size: (_, values) =>
        10 + 7.2 * Math.max(3, ...(values || []).map((text) => text.length)),
        incrs: steps, values: (_, splits) => splits.map((value) => number(value, 3)) },
    ];
  }

  function barSplits(data) {
    return (plot) => {
      const room = data.step === "month" ? 30 : 56;
      const every = Math.max(1, Math.ceil(data.x.length / Math.max(1, plot.width / room)));
      const steps = data.step === "month" ? [1, 2, 5, 7, 10] : [1, 2, 3, 4, 6, 12];
      const step = steps.find((one) => one >= every) || every;
      return data.x.filter((_, index) => index % step === 0);
    };
  }

  function lineSeries(place) {
    return [{
      label: place.dataset.power, stroke: colour("--ink"), width: 1.8, fill: colour("--sun-soft"), spanGaps: false,
      points: { show: false }, value: (_, value, __, index) => (index === null ? "" : value === null ? "–" : number(value, 0) + " W"),
    }];
  }

  function barSeries(place, data) {
    const bars = uPlot.paths.bars({ size: [0.72, 48], align: 1, radius: 0.18 });
    const kwh = (value) => (value === null || value === undefined ? "–" : number(value, 3) + " kWh");
    const made = [];
    if (data.band.some((value) => value !== null)) {
      made.push({ label: place.dataset.unsure, stroke: colour("--sun-edge"), width: 1, fill: colour("--sun-soft"), paths: bars,
        points: { show: false }, value: (_, __, ___, index) => (index === null ? "" : kwh(data.band[index])) });
    }
    made.push({ label: place.dataset.energy, stroke: colour("--sun-edge"), width: 1, fill: colour("--sun"), paths: bars,
      points: { show: false }, value: (_, value, __, index) => (index === null ? "" : kwh(value)) });
    return made;
  }

  function columns(data) {
    if (data.kind === "line") return [data.x, data.y];
    const stacked = data.band.map((value, index) => (value === null ? null : value + (data.y[index] || 0)));
    return stacked.some((value) => value !== null) ? [data.x, stacked, data.y] : [data.x, data.y];
  }

  function draw(place) {
    const data = JSON.parse(place.dataset.chart);
    const label = data.step === "month" ? asDate : data.step === "day" ? asClock : asSeconds;
    const top = Math.max(0, ...columns(data).slice(1).flat().filter((value) => value !== null));
    const old = drawn.get(place);
    if (old) old.destroy();
    const height = Math.max(140, place.clientHeight - 46);
    drawn.set(place, new uPlot({
      width: place.clientWidth, height,
      padding: [10, 8, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 8 } },
      legend: { live: true },
      scales: { x: { time: false, range: [data.from, data.to] }, y: { range: [0, top > 0 ? top * 1.08 : 1] } },
      axes: axes(data),
      series: [{ label: place.dataset.time, value: (_, value) => (value === null || value === undefined ? "" : label(value)) },
        ...(data.kind === "line" ? lineSeries(place) : barSeries(place, data))],
    }, columns(data), place));
  }

  function drawAll(within) {
    for (const place of within.querySelectorAll("[data-chart]")) draw(place);
    for (const place of drawn.keys()) if (!place.isConnected) { drawn.get(place).destroy(); drawn.delete(place); }
  }

  function start() {
    drawAll(document);
    let last = innerWidth;
    addEventListener("resize", () => { if (innerWidth !== last) { last = innerWidth; drawAll(document); } });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
    document.body.addEventListener("htmx:afterSettle", (event) => {
      if (event.target.querySelector && document.querySelector("[data-chart]:empty")) drawAll(document);
    });
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start); else start();
})();
