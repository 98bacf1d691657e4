// What moves on a page: times in the viewer's zone, the live part, and plots. Without it the pages show the same.
"use strict";

const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });

// Times: a recent one keeps its age, any other is shown in the viewer's zone. The title has both zones.
function showTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]:not([data-done])")) {
    const at = new Date(element.dateTime);
    if (element.dataset.form === "date") element.textContent = short.format(at);
    if (element.dataset.form === "clock") element.textContent = clock.format(at);
    element.title = `${full.format(at)} · ${element.title}`;
    element.dataset.done = "";
  }
}

function showZone() {
  const name = zone.formatToParts(new Date()).find((part) => part.type === "timeZoneName");
  for (const element of document.querySelectorAll("[data-zone]")) {
    const shown = name ? name.value : "your time zone";
    element.textContent = shown === "UTC" ? "Times are in UTC." : `Times are in ${shown}; UTC is shown when you point at one.`;
  }
}

// The live part: the server sends it again whenever it changed.
function startLive(state) {
  const target = document.getElementById("live");
  const text = state.querySelector("[data-live-text]");
  const button = state.querySelector("[data-live-pause]");
  let source = null;

  function show(word, isLive) {
    if (text.textContent !== word) text.textContent = word;
    state.classList.toggle("is-live", isLive);
  }

  function connect() {
    source = new EventSource(state.dataset.live);
    source.onopen = () => show("Live", true);
    source.onmessage = async (message) => {
      await htmx.swap({ sourceElement: target, target, text: message.data, swap: "innerMorph" });
      showTimes(target);
    };
    source.onerror = () => {
      // A closed source was refused: there are too many viewers, or the session ended.
      if (source.readyState === EventSource.CLOSED) show("Not live: reload the page", false);
      else show("Connecting again", false);
    };
  }

  button.addEventListener("click", () => {
    const isPaused = button.textContent === "Pause";
    button.textContent = isPaused ? "Continue" : "Pause";
    if (isPaused) {
      source.close();
      show("Paused", false);
    } else {
      connect();
    }
  });
  state.hidden = false;
  connect();
  // A hidden page needs no updates.
  document.addEventListener("visibilitychange", () => {
    if (button.textContent !== "Pause") return;
    source.close();
    if (!document.hidden) connect();
  });
}

// Plots: the picture of the server is replaced by one that can be read value by value.
const plots = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function format(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString() : value.toLocaleString(undefined, { maximumFractionDigits: 2 });
}

// The label of a time on the axis: the day where a point is an hour or more, else the time of the day.
function tick(at, step) {
  const date = new Date(at * 1000);
  const parts = step >= 3600 ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return date.toLocaleString(undefined, parts);
}

function draw(figure, plot) {
  const canvas = figure.querySelector(".canvas");
  if (!canvas || plot.lines.length === 0) return;
  const data = [plot.lines[0].map((_, index) => plot.since + index * plot.step), ...plot.lines];
  const latest = figure.querySelectorAll("[data-latest]");
  const showValues = (index) => {
    plot.lines.forEach((values, position) => {
      const known = index === null ? values.findLast((value) => value !== null) : values[index];
      if (latest[position]) latest[position].textContent = format(known);
    });
  };
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const dashes = [undefined, [5, 3], undefined, [2, 3]];
  const options = {
    width: canvas.clientWidth,
    height: canvas.clientHeight,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
    axes: [{ ...axis, size: 28, gap: 4, space: 64, values: (_, ticks) => ticks.map((at) => tick(at, plot.step)) }, { ...axis, size: 56, values: (_, ticks) => ticks.map(format) }],
    series: [{}, ...plot.lines.map((_, position) => ({ stroke: colour(`--line-${position + 1}`), width: 1.5, dash: dashes[position], points: { show: false } }))],
    hooks: { setCursor: [(drawn) => showValues(drawn.cursor.idx ?? null)] },
  };
  const known = plots.get(figure);
  if (known) known.destroy();
  canvas.replaceChildren();
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", figure.querySelector("figcaption").textContent.trim());
  plots.set(figure, new uPlot(options, data, canvas));
  showValues(null);
}

async function loadPlot(figure) {
  const response = await fetch(figure.dataset.plot, { headers: { Accept: "application/json" } });
  if (response.ok) draw(figure, await response.json());
}

function loadPlots() {
  if (document.hidden) return;
  for (const figure of document.querySelectorAll("[data-plot]")) loadPlot(figure).catch(() => {});
}

showTimes(document);
showZone();
for (const state of document.querySelectorAll("[data-live]")) startLive(state);
document.addEventListener("htmx:after:swap", () => showTimes(document));
loadPlots();
setInterval(loadPlots, 60_000);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", loadPlots);
let resizing;
window.addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(loadPlots, 200);
});
