// "Predict, then look": the reader draws a guess, then sees it beside the recorded curve, and how far off it was.
//
// The arithmetic comes first; it is pure and runs under node. The module is written into the output of predict() itself
// and needs neither a kernel nor a network. Without it the page shows the recorded curve in a fold.

// --- 1. The arithmetic ---------------------------------------------------------------------------------------------

const KEY_STEPS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };
const STEPS = 50; // from the bottom of the axis to its top

/** Index of the place nearest to `at`. */
export function nearest(places, at) {
  return places.reduce((best, place, k) => (Math.abs(place - at) < Math.abs(places[best] - at) ? k : best), 0);
}

/** Where a stroke from one point to another meets the places between: [[index, height], ...], its end included. */
export function strokePoints(places, [fromX, fromY], [toX, toY]) {
  const met = new Map();
  places.forEach((place, k) => {
    const share = (place - fromX) / (toX - fromX);
    if (share >= 0 && share <= 1) met.set(k, fromY + share * (toY - fromY));
  });
  met.set(nearest(places, toX), toY);
  return [...met];
}

export function clamp(value, [low, high]) {
  return Math.min(high, Math.max(low, value));
}

/** The value that a key leads to, or null if the key means nothing here. */
export function afterKey(key, value, [low, high]) {
  if (key === "Home") return low;
  if (key === "End") return high;
  if (!Object.hasOwn(KEY_STEPS, key)) return null;
  const size = (high - low) / STEPS;
  return clamp((Math.round((value - low) / size) + KEY_STEPS[key]) * size + low, [low, high]);
}

/** How near a guess must come to be called close: into the interval, or within a step of the axis. */
export function margin(data, k) {
  return Math.max(data.half[k] ?? 0, (data.ylim[1] - data.ylim[0]) / STEPS);
}

/** Mean absolute error over the guessed places, and where the guess was above, below or close. */
export function compare(data, guess) {
  const guessed = guess.map((_, k) => k).filter((k) => k >= data.known && guess[k] !== null);
  const off = (k) => guess[k] - data.y[k];
  const kinds = { above: [], below: [], close: [] };
  for (const k of guessed) {
    const kind = Math.abs(off(k)) <= margin(data, k) ? "close" : off(k) > 0 ? "above" : "below";
    kinds[kind].push(k);
  }
  const sum = guessed.reduce((total, k) => total + Math.abs(off(k)), 0);
  return { guessed, error: guessed.length ? sum / guessed.length : null, ...kinds };
}

/** Neighbours gathered: [1, 2, 3, 6] gives [[1, 2, 3], [6]]. */
export function runs(indices) {
  const result = [];
  for (const k of indices) {
    if (result.length && k === result.at(-1).at(-1) + 1) result.at(-1).push(k);
    else result.push([k]);
  }
  return result;
}

/** Places in words: "from 200 to 800 and at 2,000 and 8,000". */
export function placesInWords(words, indices) {
  const together = runs(indices);
  const spans = together.filter((run) => run.length > 2).map((run) => `from ${words[run[0]]} to ${words[run.at(-1)]}`);
  const single = together.filter((run) => run.length <= 2).flat();
  const others = single.length ? [`at ${listed(single.map((k) => words[k]))}`] : [];
  return [...spans, ...others].join(" and ");
}

function listed(parts) {
  return parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}

export function format(data, value) {
  return `${value.toFixed(data.decimals)}${data.unit}`;
}

/** What the guess and the record say together. */
export function sentence(data, guess) {
  const { guessed, error, above, below, close } = compare(data, guess);
  if (!guessed.length) return `You made no guess. ${data.lesson}`.trim();
  const points = data.unit === "%" ? " percentage points" : data.unit;
  const parts = [
    ["too high", above],
    ["too low", below],
    ["close", close],
  ].filter(([, places]) => places.length);
  const verdicts = parts.map(([words, places]) =>
    places.length === guessed.length ? `${words} everywhere` : `${words} ${placesInWords(data.words, places)}`,
  );
  const all = data.y.length - data.known;
  const some = guessed.length < all ? ` You guessed at ${guessed.length} of ${all} points.` : "";
  const where = verdicts.join("; ");
  return `Your guess is ${error.toFixed(data.decimals)}${points} off on average: ${where}.${some} ${data.lesson}`.trim();
}

// --- 2. The picture ------------------------------------------------------------------------------------------------

const SPACE = { left: 56, right: 24, top: 12, bottom: 46 };
const TAKES_KEYS = "data-lm-suppress-shortcuts"; // a notebook would take the arrows for its own
const SVG = "http://www.w3.org/2000/svg";
const HINT =
  "Drag the points up or down, or draw across them. By keyboard: Tab to a point, then the arrow keys. " +
  "Then compare.";

function make(tag, attributes = {}, ...children) {
  const isDrawn = ["svg", "g", "path", "circle", "line", "text", "rect"].includes(tag);
  const element = isDrawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const diamond = (x, y, r) => `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`;

class Prediction {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    this.guess = this.data.y.map((value, k) => (k < this.data.known ? value : null));
    this.isOpen = false;
    this.build();
    new ResizeObserver(() => this.draw()).observe(this.board);
  }

  build() {
    this.board = make("div", { class: "board" });
    this.spoken = make("p", { class: "spoken", role: "status", "aria-live": "polite" });
    this.button = make("button", { type: "button" }, "Compare with the record");
    this.button.addEventListener("click", () => this.toggle());
    this.again = make("button", { type: "button" }, "Clear my guess");
    this.again.addEventListener("click", () => this.clear());
    const bar = make("div", { class: "bar" }, this.button, this.again);
    const fold = this.root.querySelector("details");
    fold.hidden = true;
    fold.before(make("p", { class: "hint" }, HINT), this.board, bar, this.spoken);
    this.root.dataset.lmSuppressShortcuts = "true"; // in JupyterLab arrows and Enter would act on the cell
  }

  toggle() {
    this.isOpen = !this.isOpen;
    this.button.textContent = this.isOpen ? "Guess again" : "Compare with the record";
    this.spoken.textContent = this.isOpen ? sentence(this.data, this.guess) : "";
    this.width = 0; // so that it is drawn anew
    this.draw();
  }

  clear() {
    this.guess = this.data.y.map((value, k) => (k < this.data.known ? value : null));
    if (this.isOpen) this.toggle();
    this.showGuess();
  }

  // Places of the page: x is a share of the axis, y a value.

  toX(place) {
    return SPACE.left + 14 + place * (this.width - SPACE.left - SPACE.right - 14);
  }

  toY(value) {
    const [low, high] = this.data.ylim;
    return SPACE.top + ((high - value) / (high - low)) * (this.height - SPACE.top - SPACE.bottom);
  }

  /** The point of the axes under the pointer: [share, value]. */
  under(event) {
    const box = this.svg.getBoundingClientRect();
    const [low, high] = this.data.ylim;
    const share = (event.clientX - box.left - SPACE.left - 14) / (this.width - SPACE.left - SPACE.right - 14);
    const fall = (event.clientY - box.top - SPACE.top) / (this.height - SPACE.top - SPACE.bottom);
    return [share, clamp(high - fall * (high - low), this.data.ylim)];
  }

  draw() {
    const width = this.board.clientWidth;
    if (!width || width === this.width) return;
    const focused = this.handles?.findIndex((handle) => handle === document.activeElement) ?? -1;
    this.width = width;
    this.height = Math.round(Math.min(340, Math.max(250, 0.55 * width)));
    const size = { width, height: this.height, viewBox: `0 0 ${width} ${this.height}` };
    this.svg = make("svg", { ...size, role: this.isOpen ? "img" : "group", "aria-label": this.label() });
    this.line = make("path", { class: "guess" });
    this.handles = this.data.y.map((_, k) => this.handle(k));
    this.svg.append(...this.axes(), ...(this.isOpen ? this.recorded() : []), this.line, ...this.handles, ...this.key());
    this.board.replaceChildren(this.svg);
    this.showGuess();
    if (focused >= 0) this.handles[focused].focus();
    if (!this.isOpen) this.listen();
  }

  label() {
    const what = `${this.data.ylabel} against ${this.data.xlabel}`;
    return this.isOpen ? `${what}: your guess and the record. ${sentence(this.data, this.guess)}` : `Your guess: ${what}`;
  }

  axes() {
    const right = this.width - SPACE.right;
    const bottom = this.height - SPACE.bottom;
    const parts = this.data.yticks.flatMap(([value, words]) => [
      make("line", { class: "grid", x1: SPACE.left, x2: right, y1: this.toY(value), y2: this.toY(value) }),
      make("text", { x: SPACE.left - 8, y: this.toY(value) + 4, "text-anchor": "end" }, words),
    ]);
    let end = -Infinity; // of the last word: the next one must not run into it
    this.data.words.forEach((words, k) => {
      const x = this.toX(this.data.x[k]);
      const half = 4 * words.length;
      parts.push(make("line", { class: "tick", x1: x, x2: x, y1: bottom, y2: bottom + 5 }));
      if (x - half < end + 6) return;
      parts.push(make("text", { x, y: bottom + 19, "text-anchor": "middle" }, words));
      end = x + half;
    });
    const middle = (SPACE.left + right) / 2;
    parts.push(make("line", { class: "tick", x1: SPACE.left, x2: right, y1: bottom, y2: bottom }));
    parts.push(make("text", { x: middle, y: this.height - 8, "text-anchor": "middle" }, this.data.xlabel));
    const turned = `translate(14 ${(SPACE.top + bottom) / 2}) rotate(-90)`;
    parts.push(make("text", { transform: turned, "text-anchor": "middle" }, this.data.ylabel));
    return parts;
  }

  /** The record, with its intervals; the style sheet lets it appear from left to right, where motion is welcome. */
  recorded() {
    const group = make("g", { class: "recorded" });
    const path = this.data.y.map((value, k) => `${this.toX(this.data.x[k])} ${this.toY(value)}`).join("L");
    group.append(make("path", { d: `M${path}` }));
    this.data.y.forEach((value, k) => {
      const x = this.toX(this.data.x[k]);
      const half = this.data.half[k] ?? 0;
      const [top, bottom] = [value + half, value - half].map((end) => this.toY(clamp(end, this.data.ylim)));
      group.append(make("line", { x1: x, x2: x, y1: top, y2: bottom }));
      group.append(make("circle", { cx: x, cy: this.toY(value), r: 4.5 }));
    });
    return [group];
  }

  key() {
    const y = SPACE.top + 6;
    const x = SPACE.left + 22;
    const entry = (at, mark, words) => [mark, make("text", { x: at + 32, y: y + 5 }, words)];
    const guess = entry(x, make("path", { class: "guess", d: `M${x} ${y}H${x + 26}` }), "your guess");
    if (!this.isOpen) return guess;
    const other = x + 122;
    return [...guess, ...entry(other, make("path", { class: "key", d: `M${other} ${y}H${other + 26}` }), "record")];
  }

  handle(k) {
    const place = this.toX(this.data.x[k]);
    const mark = make("path", { class: "mark", d: diamond(0, 0, 7) });
    if (this.isOpen || k < this.data.known) {
      return make("g", { class: k < this.data.known ? "given" : "fixed", "data-x": place }, mark);
    }
    const [low, high] = this.data.ylim;
    const says = { role: "slider", tabindex: "0", [TAKES_KEYS]: "", "aria-orientation": "vertical" };
    const bounds = { "aria-valuemin": low, "aria-valuemax": high };
    const label = { "aria-label": `${this.data.ylabel}, ${this.data.xlabel} ${this.data.words[k]}` };
    const target = make("circle", { class: "target", r: 22 });
    const ring = make("circle", { class: "ring", r: 12 });
    return make("g", { class: "handle", "data-x": place, ...says, ...bounds, ...label }, target, ring, mark);
  }

  /** Bring line and handles to where the guess is now. */
  showGuess() {
    const middle = (this.data.ylim[0] + this.data.ylim[1]) / 2;
    let path = "";
    this.handles.forEach((handle, k) => {
      const value = this.guess[k] ?? middle;
      const [x, y] = [handle.dataset.x, this.toY(value)];
      handle.setAttribute("transform", `translate(${x} ${y})`);
      handle.classList.toggle("open", this.guess[k] === null);
      if (handle.classList.contains("fixed")) handle.style.display = this.guess[k] === null ? "none" : "";
      if (handle.getAttribute("role") === "slider") {
        handle.setAttribute("aria-valuenow", value.toFixed(this.data.decimals));
        handle.setAttribute("aria-valuetext", this.guess[k] === null ? "no guess yet" : format(this.data, value));
      }
      if (this.guess[k] !== null) path += `${path ? "L" : "M"}${x} ${y}`;
    });
    this.line.setAttribute("d", path);
  }

  // The reader's hand.

  put(k, value) {
    if (k < this.data.known) return;
    this.guess[k] = value;
    this.showGuess();
  }

  listen() {
    this.handles.forEach((handle, k) => handle.addEventListener("keydown", (event) => this.onKey(event, k)));
    this.svg.addEventListener("pointerdown", (event) => this.start(event));
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerup", (event) => this.end(event));
    this.svg.addEventListener("pointercancel", () => (this.stroke = null));
  }

  onKey(event, k) {
    const middle = (this.data.ylim[0] + this.data.ylim[1]) / 2;
    const value = afterKey(event.key, this.guess[k] ?? middle, this.data.ylim);
    if (value === null || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.put(k, value);
  }

  start(event) {
    if (event.button !== 0) return;
    const handle = this.handles.indexOf(event.target.closest(".handle"));
    // A finger beside the points may be on its way down the page: it draws once it moves sideways, or at a tap's end.
    const waits = event.pointerType === "touch" && handle < 0;
    this.stroke = { handle, waits, last: this.under(event), x: event.clientX };
    if (waits) return;
    event.preventDefault();
    this.svg.setPointerCapture(event.pointerId);
    if (handle >= 0) this.handles[handle].focus({ preventScroll: true });
    this.strokeTo(event);
  }

  move(event) {
    if (!this.stroke) return;
    if (this.stroke.waits && Math.abs(event.clientX - this.stroke.x) < 8) return;
    this.stroke.waits = false;
    this.strokeTo(event);
  }

  end(event) {
    if (this.stroke) this.strokeTo(event);
    this.stroke = null;
  }

  /** A point that was taken hold of moves up and down alone; elsewhere the stroke sets every point on its way. */
  strokeTo(event) {
    const now = this.under(event);
    const { handle, last } = this.stroke;
    const sideways = Math.abs(event.clientX - this.stroke.x) > 30;
    if (handle >= 0 && !sideways) this.put(handle, now[1]);
    else for (const [k, value] of strokePoints(this.data.x, last, now)) this.put(k, value);
    if (sideways) this.stroke.handle = -1;
    this.stroke.last = now;
  }
}

function setUp(root) {
  root.dataset.ready = "true";
  new Prediction(root);
}

if (typeof document !== "undefined") document.querySelectorAll(".l2rw-predict:not([data-ready])").forEach(setUp);
