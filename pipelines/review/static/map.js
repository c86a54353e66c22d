// The map of the corpus: points on a canvas, and an area around some of them as a filter.
import { ask, guarded, isDark, make, ready, state } from "/review.js";

const byId = (id) => document.getElementById(id);
const SIDE = 65536; // places along each side of the map
const MOST_CORNERS = 128;
const CLOSEST = SIDE / 512; // the smallest side of what is in view
const NEAR = 8; // how many pixels a click may miss a point by
const BANDS = 5; // colours of scores
const points = byId("map-points");
const lasso = byId("map-lasso");
const form = byId("filters");
const whole = () => ({ x: 0, y: 0, width: SIDE, height: SIDE });
let map = null; // what the server sent
let view = whole();
let path = null; // the corners of a lasso that is being drawn

// A canvas can't read light-dark(#light, #dark), so one of the two is chosen here.
function readColour(name) {
  const pair = getComputedStyle(document.documentElement).getPropertyValue(name);
  return pair.match(/#[0-9a-f]{6}/g)[isDark() ? 1 : 0];
}

function mixColours(from, to, share) {
  const parts = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const [first, last] = [parts(from), parts(to)];
  return `rgb(${first.map((part, at) => Math.round(part + share * (last[at] - part))).join(" ")})`;
}

// Each colour of the map: its name, its fill, and which codes have it.
function listColours() {
  if (byId("map-colour").value !== "score") {
    const names = [...map.names];
    if (map.codes.some((code) => code >= names.length)) names.push("others");
    return names.map((name, at) => ({ name, fill: readColour(`--hue-${at}`), codes: [at, at] }));
  }
  const margin = !scoredTrait();
  const bands = [...Array(BANDS).keys()].map((at) => {
    const [low, high] = [(100 * at) / BANDS, (100 * (at + 1)) / BANDS];
    const show = (step) => (margin ? step / 50 - 1 : step / 100).toFixed(1);
    const fill = mixColours(readColour("--hue-low"), readColour("--hue-high"), at / (BANDS - 1));
    const codes = [Math.floor(low), at === BANDS - 1 ? 100 : high - 1];
    return { name: `${show(low)} to ${show(high)}`, fill, codes };
  });
  return [{ name: "no score", fill: readColour("--pale"), codes: [-1, -1] }, ...bands];
}

function scoredTrait() {
  return form.trait.value;
}

function toScreen(x, y) {
  return [
    ((x - view.x) / view.width) * points.clientWidth,
    ((y - view.y) / view.height) * points.clientHeight,
  ];
}

function toMap([left, top]) {
  return [
    view.x + (left / points.clientWidth) * view.width,
    view.y + (top / points.clientHeight) * view.height,
  ];
}

function prepareCanvas(canvas) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
}

function draw() {
  if (byId("map").hidden || !map) return;
  const context = prepareCanvas(points);
  const colours = listColours();
  for (const held of [0, 1]) {
    const size = held ? 4 : 2;
    for (const { fill, codes } of colours) {
      context.fillStyle = fill;
      map.x.forEach((x, at) => {
        if (map.is_held[at] !== held || map.codes[at] < codes[0] || map.codes[at] > codes[1])
          return;
        const [left, top] = toScreen(x, map.y[at]);
        context.fillRect(left - size / 2, top - size / 2, size, size);
      });
    }
  }
  drawOver();
}

// What lies over the points: the row that is shown, and the area.
function drawOver() {
  const context = prepareCanvas(lasso);
  context.strokeStyle = readColour("--ink");
  context.lineWidth = 1.5;
  const at = state.row ? map.index.indexOf(state.row.index) : -1;
  if (at >= 0) {
    context.beginPath();
    context.arc(...toScreen(map.x[at], map.y[at]), 7, 0, 2 * Math.PI);
    context.stroke();
  }
  const corners = path ? path.map(toMap) : readArea();
  if (corners.length < 2) return;
  context.beginPath();
  for (const corner of corners) context.lineTo(...toScreen(...corner));
  context.closePath();
  context.setLineDash([5, 4]);
  context.stroke();
}

function readArea() {
  const pairs = form.area.value.split(" ").filter(Boolean);
  return pairs.map((pair) => pair.split(",").map(Number));
}

function setArea(corners) {
  const fit = (value) => Math.min(SIDE, Math.max(0, Math.round(value)));
  form.area.value = corners.map((corner) => corner.map(fit).join(",")).join(" ");
  showChip();
  form.dispatchEvent(new Event("input", { bubbles: true }));
}

function showChip() {
  byId("area-chip").hidden = !form.area.value;
  byId("area-chip").textContent = "area of the map ×";
  // Without a decision, an area lists all of its rows, whether a trait fired or not.
  form.decision.options[0].textContent = form.area.value ? "any in the area" : "a trait fired";
  if (map) drawOver();
}

function listView() {
  const [left, top] = [Math.floor(view.x), Math.floor(view.y)];
  const [right, bottom] = [Math.ceil(view.x + view.width), Math.ceil(view.y + view.height)];
  setArea([[left, top], [right, top], [right, bottom], [left, bottom]]); // prettier-ignore
}

function move(x, y) {
  view.x = Math.min(SIDE - view.width, Math.max(0, view.x + x * view.width));
  view.y = Math.min(SIDE - view.height, Math.max(0, view.y + y * view.height));
  draw();
}

// Zoom by a factor, keeping the point at a share of the width and height where it is.
function zoom(factor, across = 0.5, down = 0.5) {
  const size = Math.min(SIDE, Math.max(CLOSEST, view.width * factor));
  view.x += across * (view.width - size);
  view.y += down * (view.height - size);
  view.width = view.height = size;
  move(0, 0);
}

function showWhole() {
  view = whole();
  draw();
}

const KEYS = {
  ArrowLeft: () => move(-0.1, 0),
  ArrowRight: () => move(0.1, 0),
  ArrowUp: () => move(0, -0.1),
  ArrowDown: () => move(0, 0.1),
  "+": () => zoom(0.7),
  "=": () => zoom(0.7),
  "-": () => zoom(1 / 0.7),
  0: showWhole,
  Enter: listView,
  Escape: () => setArea([]),
};

function pressKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  event.stopPropagation(); // on the map, arrow keys don't turn the rows
  KEYS[event.key]();
}

function findPlace(event) {
  const box = points.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function beginLasso(event) {
  if (!map || event.button !== 0) return;
  points.setPointerCapture(event.pointerId);
  path = [findPlace(event)];
}

function continueLasso(event) {
  if (!path) return;
  const place = findPlace(event);
  const last = path[path.length - 1];
  if (Math.hypot(place[0] - last[0], place[1] - last[1]) < 2) return;
  path.push(place);
  drawOver();
}

function endLasso() {
  if (!path) return;
  const drawn = path;
  path = null;
  if (drawn.length < 3) return listPoint(drawn[0]);
  const step = Math.max(1, drawn.length / MOST_CORNERS);
  const kept = [];
  for (let at = 0; at < drawn.length; at += step) kept.push(drawn[Math.floor(at)]);
  setArea(kept.slice(0, MOST_CORNERS).map(toMap));
}

// List the rows at the drawn point that is nearest to a click.
function listPoint(place) {
  let [best, nearest] = [NEAR, -1];
  map.x.forEach((x, at) => {
    const [left, top] = toScreen(x, map.y[at]);
    const distance = Math.hypot(left - place[0], top - place[1]);
    if (distance < best) [best, nearest] = [distance, at];
  });
  if (nearest < 0) return;
  const [x, y] = [map.x[nearest], map.y[nearest]];
  setArea([[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1]]); // prettier-ignore
}

function describe() {
  const count = (number) => number.toLocaleString("en");
  const drawn = map.index.length;
  const made =
    map.origin === "vectors"
      ? "Places are made of the run's stored vectors"
      : "Places are made of the words of each row's text";
  const which =
    drawn === map.placed
      ? `all ${count(drawn)} rows with a text are drawn`
      : `${count(drawn)} of ${count(map.placed)} rows are drawn: ` +
        (map.held_drawn === map.held ? "all" : count(map.held_drawn) + " of") +
        ` ${count(map.held)} held ones, and a random sample of the others. An area lists all of its rows`;
  const gone = map.rows - map.placed;
  byId("map-about").textContent =
    `${made}: two of very many directions. ${which[0].toUpperCase()}${which.slice(1)}. ` +
    (gone ? `${count(gone)} rows without a text or a vector have no place. ` : "") +
    "Distance on the map is no evidence: rows may be near each other and have nothing in common.";
}

function drawLegend() {
  const entries = listColours().map(({ name, fill }) => {
    const swatch = make("span", { class: "swatch" });
    swatch.style.background = fill;
    return make("li", {}, swatch, make("bdi", {}, name));
  });
  const held = make("li", {}, make("span", { class: "swatch large" }), "larger: held");
  byId("map-legend").replaceChildren(...entries, held);
}

const load = guarded(async () => {
  const progress = (await ask("/api/progress")).map;
  if (!progress.ready) {
    const done = progress.of
      ? `: ${progress.done.toLocaleString("en")} of ${progress.of.toLocaleString("en")} rows have a place`
      : "";
    byId("map-about").textContent = progress.problem || `The map is being made${done}.`;
    if (!progress.problem && !byId("map").hidden) setTimeout(load, 1000);
    return;
  }
  map = await ask("/api/map", { colour: byId("map-colour").value, trait: scoredTrait() });
  byId("map").dataset.drawn = map.index.length;
  describe();
  drawLegend();
  draw();
});

function toggle() {
  const shown = byId("map").hidden;
  byId("map").hidden = !shown;
  byId("map-button").setAttribute("aria-expanded", String(shown));
  if (!shown) return;
  if (map) draw();
  else load();
}

function listen() {
  points.addEventListener("pointerdown", beginLasso);
  points.addEventListener("pointermove", continueLasso);
  points.addEventListener("pointerup", endLasso);
  points.addEventListener("pointercancel", () => (path = null));
  points.addEventListener("keydown", pressKey);
  points.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const [left, top] = findPlace(event);
      zoom(event.deltaY > 0 ? 1.25 : 0.8, left / points.clientWidth, top / points.clientHeight);
    },
    { passive: false },
  );
  for (const [id, work] of [
    ["map-button", toggle],
    ["map-in", () => zoom(0.7)],
    ["map-out", () => zoom(1 / 0.7)],
    ["map-whole", showWhole],
    ["map-view", listView],
    ["area-chip", () => setArea([])],
  ])
    byId(id).addEventListener("click", () => {
      byId(id).blur();
      work();
    });
  byId("map-colour").addEventListener("change", load);
  form.trait.addEventListener("change", () => map && load());
  form.addEventListener("reset", () => {
    form.area.value = "";
    showChip();
  });
  document.addEventListener("row-shown", () => map && drawOver());
  document.addEventListener("map-key", toggle);
  new ResizeObserver(draw).observe(points);
  const redraw = () => {
    if (map) drawLegend();
    draw();
  };
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

await ready;
if (state.run && !state.run.blind) {
  byId("map-button").hidden = false;
  listen();
}
