// Eight training points and two clean ones on a line, to be dragged: what the loss says of each, and what L2RW says.
//
// The model answers 1 everywhere, so a loss depends on the label alone; a weight depends on the place as well. The
// arithmetic comes first; it is pure and runs under node. The module is written into the output of EightPoints itself
// and needs neither a kernel nor a network. Without it the page shows the first picture.

// --- 1. The arithmetic ---------------------------------------------------------------------------------------------

export const REACH = 2; // points lie from -REACH to REACH
const STEP = 0.1; // of one press of an arrow key

/** The model's probability of label 1: the same everywhere. */
export function probability(bias) {
  return 1 / (1 + Math.exp(-bias));
}

/** Cross-entropy of a label under the model. */
export function loss(label, bias) {
  return -Math.log(label ? probability(bias) : 1 - probability(bias));
}

/** Gradient of the loss of a point by the slope and by the bias of the model. */
function gradient({ x, label }, bias) {
  const error = probability(bias) - label;
  return [error * x, error];
}

/** Weights of the training points, equations (7) to (9): positive inner products with the clean gradient, scaled. */
export function weights(training, clean, bias) {
  const v = [0, 1].map((k) => clean.reduce((sum, point) => sum + gradient(point, bias)[k], 0) / clean.length);
  const u = training.map((point) => gradient(point, bias).reduce((sum, g, k) => sum + g * v[k], 0));
  const kept = u.map((value) => Math.max(value, 0));
  const total = kept.reduce((sum, value) => sum + value, 0);
  return kept.map((value) => (total ? value / total : 0));
}

/** Whether a training point has a wrong label: left of 0 the right one is 0, right of it 1. */
export function isWrong({ x, label }) {
  return label === 1 ? x < 0 : x > 0;
}

/** The place that a key leads to, or null if the key means nothing here. */
export function afterKey(key, x) {
  const by = { ArrowRight: STEP, ArrowUp: STEP, ArrowLeft: -STEP, ArrowDown: -STEP, PageUp: 0.5, PageDown: -0.5 }[key];
  if (key === "Home") return -REACH;
  if (key === "End") return REACH;
  return by === undefined ? null : within(x + by);
}

export function within(x) {
  return Math.min(REACH, Math.max(-REACH, Math.round(10 * x) / 10)) + 0; // no minus zero
}

const percent = (share) => `${Math.round(100 * share)}%`;
const signed = (x) => x.toFixed(1).replace("-", "\u2212");

/** What is to be seen of the points with names, in sentences computed from where they are. */
export function sentence({ training, clean, bias }) {
  const w = weights(training, clean, bias);
  const named = training.map((point, k) => ({ ...point, weight: w[k] })).filter((point) => point.name);
  const [a, b] = named;
  const same = a.label === b.label;
  const losses = named.map((point) => loss(point.label, bias).toFixed(2));
  const first = same
    ? `A and B have the same loss, ${losses[0]}, so a rule that reads losses must give both the same weight.`
    : `A has loss ${losses[0]} and B ${losses[1]}: now a rule that reads losses can tell them apart.`;
  const none = w.every((weight) => weight === 0);
  const second = none
    ? "No point agrees with the clean ones, so L2RW gives no weight at all."
    : `L2RW gives A ${percent(a.weight)} of the weight and B ${percent(b.weight)}.`;
  return `${first} ${second}`;
}

// --- 2. The picture ------------------------------------------------------------------------------------------------

const TAKES_KEYS = "data-lm-suppress-shortcuts"; // a notebook would take the arrows for its own
const SVG = "http://www.w3.org/2000/svg";
const HINT =
  "Drag a point along its line, or to the other line to change its label. " +
  "By keyboard: Tab to a point, arrow keys to move it, Enter to change its label. " +
  "A cross marks a wrong label: left of 0 the right label is 0, right of 0 it is 1.";
const SPACE = { left: 12, right: 12 };
const HEIGHT = 326;
const LANES = { 1: 66, 0: 150, clean: 246 };
const RADIUS = 8; // of a point of average weight

const CROSS = `M${-RADIUS} ${-RADIUS}L${RADIUS} ${RADIUS}M${RADIUS} ${-RADIUS}L${-RADIUS} ${RADIUS}`;

function make(tag, attributes = {}, ...children) {
  const isDrawn = ["svg", "g", "path", "circle", "line", "text"].includes(tag);
  const element = isDrawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A circle for label 1, a triangle for label 0, of the area of a circle of this radius. */
function shape(label, radius) {
  if (label) return `M${-radius} 0a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0Z`;
  const reach = 1.555 * radius;
  return `M0 ${-reach}L${0.866 * reach} ${reach / 2}L${-0.866 * reach} ${reach / 2}Z`;
}

class Eight {
  constructor(root) {
    this.root = root;
    this.opening = root.querySelector("script[type='application/json']").textContent;
    this.data = JSON.parse(this.opening);
    this.build();
    new ResizeObserver(() => this.draw()).observe(this.board);
  }

  get points() {
    return [...this.data.training, ...this.data.clean];
  }

  build() {
    this.board = make("div", { class: "board" });
    this.spoken = make("p", { class: "spoken", role: "status", "aria-live": "polite" });
    const again = make("button", { type: "button" }, "Start over");
    again.addEventListener("click", () => {
      this.data = JSON.parse(this.opening);
      this.show();
    });
    const first = this.root.querySelector(".first");
    first.hidden = true;
    first.before(make("p", { class: "hint" }, HINT), this.board, this.spoken, make("div", { class: "bar" }, again));
    this.root.dataset.lmSuppressShortcuts = "true"; // in JupyterLab arrows and Enter would act on the cell
  }

  draw() {
    const width = this.board.clientWidth;
    if (!width || width === this.width) return;
    this.width = width;
    const focused = this.handles?.findIndex((handle) => handle === document.activeElement) ?? -1;
    this.svg = make("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "group" });
    this.svg.setAttribute("aria-label", "Eight training points and two clean ones");
    this.handles = this.points.map((_, k) => this.handle(k));
    this.svg.append(...this.axes(), ...this.handles);
    this.board.replaceChildren(this.svg);
    this.listen();
    this.show();
    if (focused >= 0) this.handles[focused].focus();
  }

  toX(x) {
    const half = (this.width - SPACE.left - SPACE.right) / 2 - 14;
    return this.width / 2 + (x / REACH) * half;
  }

  axes() {
    const { bias } = this.data;
    const words = {
      1: `labelled 1: loss ${loss(1, bias).toFixed(2)} each`,
      0: `labelled 0: loss ${loss(0, bias).toFixed(2)} each`,
      clean: "clean points: labels known to be right",
    };
    const lanes = Object.entries(LANES).flatMap(([lane, y]) => [
      make("line", { class: "lane", x1: this.toX(-REACH), x2: this.toX(REACH), y1: y, y2: y }),
      make("text", { x: SPACE.left, y: y - 36 }, words[lane]),
    ]);
    const ticks = [-2, -1, 0, 1, 2].flatMap((x) => [
      make("line", { class: "tick", x1: this.toX(x), x2: this.toX(x), y1: HEIGHT - 44, y2: HEIGHT - 39 }),
      make("text", { x: this.toX(x), y: HEIGHT - 24, "text-anchor": "middle" }, signed(x).replace(".0", "")),
    ]);
    return [...lanes, ...ticks, make("text", { x: this.width / 2, y: HEIGHT - 5, "text-anchor": "middle" }, "input x")];
  }

  handle(k) {
    const bounds = { "aria-valuemin": -REACH, "aria-valuemax": REACH };
    const parts = ["target", "outline", "area"].map((name) => make(name === "target" ? "circle" : "path", { class: name }));
    parts[0].setAttribute("r", "20");
    const isClean = k >= this.data.training.length;
    if (isClean) parts.push(make("circle", { class: "clean", r: RADIUS + 5 }));
    else parts.push(make("path", { class: "cross", d: CROSS }));
    const { name } = this.points[k];
    if (name) parts.push(make("text", { class: "name", x: 0, y: 34, "text-anchor": "middle" }));
    const kind = isClean ? "clean" : name ? "named" : "";
    return make("g", { class: `handle ${kind}`, role: "slider", tabindex: "0", [TAKES_KEYS]: "", ...bounds }, ...parts);
  }

  /** Bring every point to where it is now, with its weight, and say what that comes to. */
  show() {
    const { training, clean, bias } = this.data;
    const w = weights(training, clean, bias);
    this.points.forEach((point, k) => {
      const handle = this.handles[k];
      const isClean = k >= training.length;
      handle.setAttribute("transform", `translate(${this.toX(point.x)} ${LANES[isClean ? "clean" : point.label]})`);
      handle.classList.toggle("one", point.label === 1);
      handle.querySelector(".outline").setAttribute("d", shape(point.label, isClean ? RADIUS - 2 : RADIUS));
      const radius = isClean ? RADIUS - 2 : RADIUS * Math.sqrt(w[k] * training.length);
      handle.querySelector(".area").setAttribute("d", radius > 0 ? shape(point.label, radius) : "");
      const words = handle.querySelector("text");
      if (words) words.textContent = `${point.name}: ${percent(w[k])}`;
      const wrong = !isClean && isWrong(point);
      handle.classList.toggle("wrong", wrong);
      const called = isClean ? "clean point" : point.name ? `point ${point.name}` : "training point";
      const weight = isClean ? "" : `, loss ${loss(point.label, bias).toFixed(2)}, weight ${percent(w[k])}`;
      handle.setAttribute("aria-label", `${called}, input x`);
      handle.setAttribute("aria-valuenow", point.x.toFixed(1));
      handle.setAttribute("aria-valuetext", `${signed(point.x)}, label ${point.label}${wrong ? ", which is wrong" : ""}${weight}`);
    });
    this.spoken.textContent = sentence(this.data);
  }

  // The reader's hand.

  listen() {
    this.handles.forEach((handle, k) => {
      handle.addEventListener("keydown", (event) => this.onKey(event, k));
      handle.addEventListener("pointerdown", (event) => this.start(event, k));
      handle.addEventListener("pointermove", (event) => this.held === k && this.moveTo(event, k));
      // Chromium scrolls by a finger on a part of a drawing, whatever its style says of touch.
      handle.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
      for (const end of ["pointerup", "pointercancel"]) handle.addEventListener(end, () => (this.held = null));
    });
  }

  onKey(event, k) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const point = this.points[k];
    const x = afterKey(event.key, point.x);
    if (event.key === "Enter" || event.key === " ") point.label = 1 - point.label;
    else if (x !== null) point.x = x;
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.show();
  }

  start(event, k) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.held = k;
    this.handles[k].setPointerCapture(event.pointerId);
    this.handles[k].focus({ preventScroll: true });
  }

  moveTo(event, k) {
    const bounds = this.svg.getBoundingClientRect();
    const point = this.points[k];
    const unit = (this.toX(REACH) - this.toX(0)) / REACH;
    point.x = within((event.clientX - bounds.left - this.toX(0)) / unit);
    const middle = (LANES[0] + LANES[1]) / 2;
    if (k < this.data.training.length) point.label = event.clientY - bounds.top < middle ? 1 : 0;
    this.show();
  }
}

function setUp(root) {
  root.dataset.ready = "true";
  new Eight(root);
}

if (typeof document !== "undefined") document.querySelectorAll(".l2rw-eight:not([data-ready])").forEach(setUp);
