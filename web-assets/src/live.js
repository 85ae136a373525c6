// Live values: one stream of server-sent events a page. Everything can be read without this file; it keeps it fresh.
"use strict";
(() => {
  const root = document.documentElement;
  const locale = root.dataset.locale;
  const zone = root.dataset.zone;
  const latest = new Map(); // meter id -> its newest live reading on this page
  let size = null; // records anchored, as last heard

  const milli = (value, decimals) =>
    new Intl.NumberFormat(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
      .format(value).replace("-", "−");
  const clock = (ms) => new Intl.DateTimeFormat(locale, {
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: zone,
  }).format(ms);

  function put(element, text) {
    if (element && element.textContent !== text) {
      element.textContent = text;
      const figure = element.closest(".figure");
      if (figure) figure.classList.remove("unknown");
    }
  }

  function markOn(place) {
    if (place.dataset.state === "on") return;
    place.dataset.state = "on";
    const pill = place.querySelector(".pill");
    if (pill) {
      pill.textContent = place.dataset.wordOn;
      pill.className = "pill good";
    }
  }

  // A card that shows one or more meters: a sum only where every one of them has been heard.
  function refresh(place) {
    const meters = (place.dataset.meters || "").split(",").filter(Boolean);
    const heard = meters.map((meter) => latest.get(Number(meter)));
    if (!heard.length || heard.some((reading) => !reading)) return;
    markOn(place);
    for (const element of place.querySelectorAll("[data-live]")) {
      const name = element.dataset.live;
      if (name === "time_ms") {
        put(element, place.dataset.measured.replace("%", clock(heard[0].time_ms)));
        continue;
      }
      const values = heard.map((reading) => reading[name]);
      if (values.some((value) => value === null || value === undefined)) {
        element.textContent = "–";
        continue;
      }
      const sum = values.reduce((total, value) => total + value, 0);
      const divisor = name === "energy_mwh" ? 1e6 : 1e3;
      put(element, milli((name === "power_mw" ? sum : values[0]) / divisor, Number(element.dataset.decimals)));
      if (name === "power_mw") place.dataset.power = String(sum);
    }
  }

  function refreshTotal() {
    const total = document.querySelector('[data-live="total_power_mw"]');
    const cards = [...document.querySelectorAll(".rooms [data-meters]")];
    if (!total || !cards.length) return;
    const on = cards.filter((card) => card.dataset.state === "on");
    if (on.length && on.every((card) => card.dataset.power !== undefined)) {
      put(total, milli(on.reduce((sum, card) => sum + Number(card.dataset.power), 0) / 1e3, 0));
    }
  }

  function onLive(event) {
    const mine = new Set();
    for (const reading of JSON.parse(event.data).readings) {
      latest.set(reading.meter, reading);
      mine.add(String(reading.meter));
    }
    for (const place of document.querySelectorAll("[data-meters]")) {
      if (place.dataset.meters.split(",").some((meter) => mine.has(meter))) {
        refresh(place);
        if (place.id === "now") tellReadings();
      }
    }
    refreshTotal();
  }

  // The table of readings is asked for anew at most every two seconds, and never while somebody reads a hash in it.
  let waiting = false;
  function later(name) {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      const table = document.getElementById("readings");
      const busy = table && (table.querySelector("details[open]") || table.contains(document.activeElement));
      if (document.visibilityState === "visible" && !busy) document.body.dispatchEvent(new Event(name));
    }, 2000);
  }
  const tellReadings = () => later("terang:reading");

  function onAnchored(event) {
    const head = JSON.parse(event.data);
    if (size === head.size) return;
    size = head.size;
    later("terang:anchored");
  }

  function show(id, on) {
    const element = document.getElementById(id);
    if (element) element.hidden = !on;
  }

  function connect() {
    const address = document.body.dataset.stream;
    if (!address || !window.EventSource) return;
    const stream = new EventSource(address);
    let lost = 0;
    stream.addEventListener("open", () => { clearTimeout(lost); lost = 0; show("stream-down", false); });
    stream.addEventListener("live", onLive);
    stream.addEventListener("anchored", onAnchored);
    stream.addEventListener("core", (event) => show("core-down", !JSON.parse(event.data).up));
    stream.addEventListener("end", () => { stream.close(); location.reload(); });
    stream.addEventListener("error", () => {
      if (!lost) lost = setTimeout(() => show("stream-down", true), 4000);
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 10000);
    });
    addEventListener("pagehide", () => stream.close());
  }

  // A page that the browser kept shows old numbers as if they were new: load it again.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  // Whatever is open is closed by a click beside it or by Escape.
  function closeOthers(target) {
    for (const open of document.querySelectorAll("details.hash[open], details.menu[open]")) {
      if (!open.contains(target)) open.open = false;
    }
  }
  document.addEventListener("click", (event) => closeOthers(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = document.querySelector("details.hash[open], details.menu[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", connect); else connect();
})();
