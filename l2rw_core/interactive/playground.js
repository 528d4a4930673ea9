// L2RW in the reader's browser, beside plain training and training on the clean points alone: no kernel, no network.
//
// The module has five parts: the arithmetic, the settings and their words, the drawing, the widget, and its place on a
// page without a kernel. The first two are pure and run under node, where the tests compare them with l2rw_core.
// Nothing here touches `document` or `window` before `render` is called, but for the last line, where there is a page.

// --- 1. The arithmetic ---------------------------------------------------------------------------------------------
//
// Points are { x, y, label } of Float64Arrays; a label is 0 (triangle, the rare class) or 1 (circle, the common one).
// Parameters are one flat Float64Array:
//   logistic  [w_x, w_y, b]
//   mlp       HIDDEN times [w_x, w_y, b], then HIDDEN outgoing weights, then the output bias

export const HIDDEN = 8;
export const LIMITS = { x: 4.5, y: 3.5 }; // every point lies inside, so that the axes never move
export const BATCH = 50;
export const MAX_STEPS = 400;
export const START_STEPS = { clouds: 100, rings: 200 };
const TEST_SIZE = 400;
const GAP = 3; // between the centres of the clouds, in standard deviations
const RADII = [0.6, 2.3]; // of the rings of class 0 and 1
const THICKNESS = 0.35; // of a ring: the standard deviation of its points' radius
const RECORD_EVERY = 5; // steps from one measured accuracy to the next

// One stream of random numbers for each purpose: changing one setting then leaves all other draws as they were.
const STREAM = { rare: 1, common: 2, noise: 3, cleanRare: 4, cleanCommon: 5, test: 6, model: 7, batches: 8 };

/** Scramble 32 bits, so that seeds in a row give streams with nothing in common. */
function scramble(bits) {
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** Return a function that draws uniformly from (0, 1): a counter with a large odd stride, scrambled. */
export function uniforms(seed, stream) {
  let counter = scramble(scramble(seed + 1) ^ stream);
  return () => {
    counter = (counter + 0x9e3779b9) | 0;
    return (scramble(counter) + 0.5) / 2 ** 32;
  };
}

/** One standard normal draw (Box and Muller's transform). */
function normal(uniform) {
  return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** One point of a class: of a cloud left or right, or of a ring inside or outside. */
const SHAPES = {
  clouds: (uniform, label) => [normal(uniform) + GAP * (label - 0.5), normal(uniform)],
  rings(uniform, label) {
    const radius = RADII[label] + THICKNESS * normal(uniform);
    const angle = 2 * Math.PI * uniform();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  },
};

/** Draw one point of a class; the few that would fall outside the axes are drawn again. */
function drawPoint(uniform, label, shape) {
  for (;;) {
    const [x, y] = SHAPES[shape](uniform, label);
    if (Math.abs(x) < LIMITS.x && Math.abs(y) < LIMITS.y) return [x, y];
  }
}

/** Points of the `groups`, each [stream, label, count]; a longer group starts with the points of a shorter one. */
function drawPoints(seed, shape, groups) {
  const rows = [];
  for (const [stream, label, count] of groups) {
    const uniform = uniforms(seed, stream);
    for (let k = 0; k < count; k += 1) rows.push([...drawPoint(uniform, label, shape), label]);
  }
  const column = (index) => Float64Array.from(rows, (row) => row[index]);
  return { x: column(0), y: column(1), label: column(2) };
}

/** How many points of the rare class there are among n, with `imbalance` common ones to each. */
export function rareCount(n, imbalance) {
  return Math.max(1, Math.round(n / (1 + imbalance)));
}

/**
 * Training, clean and test points for these settings.
 *
 * Noise flips labels of rare points to the common class. More noise keeps the labels that were flipped before, and
 * moves no point. `flips` holds ids of points whose label the reader has flipped on top of that.
 */
export function makeData(settings) {
  const { seed, n, imbalance, noise, clean_size: cleanSize, data: shape, flips } = settings;
  const rare = rareCount(n, imbalance);
  const train = drawPoints(seed, shape, [[STREAM.rare, 0, rare], [STREAM.common, 1, n - rare]]);
  const truth = train.label.slice();
  const ids = Array.from(truth, (label, i) => (label === 0 ? `t${i}` : `c${i - rare}`));
  const uniform = uniforms(seed, STREAM.noise);
  const turns = Array.from({ length: rare }, (_, k) => [uniform(), k]).sort((a, b) => a[0] - b[0]);
  for (const [, k] of turns.slice(0, Math.round(noise * rare))) train.label[k] = 1;
  ids.forEach((id, i) => {
    if (flips?.includes(id)) train.label[i] = 1 - train.label[i];
  });
  const cleanRare = Math.floor(cleanSize / 2);
  const common = [STREAM.cleanCommon, 1, cleanSize - cleanRare];
  const clean = drawPoints(seed, shape, [[STREAM.cleanRare, 0, cleanRare], common]);
  const test = drawPoints(seed, shape, [[STREAM.test, 0, TEST_SIZE / 2], [STREAM.test + 100, 1, TEST_SIZE / 2]]);
  return { train, truth, ids, clean, test };
}

export function parameterCount(kind) {
  return kind === "mlp" ? 4 * HIDDEN + 1 : 3;
}

/** Initial parameters: small and random, the same for every method. */
export function initModel(kind, seed) {
  const uniform = uniforms(seed, STREAM.model);
  return Float64Array.from({ length: parameterCount(kind) }, () => 0.5 * normal(uniform));
}

/** The model's output at (x, y): positive means class 1. */
export function score(kind, theta, x, y) {
  if (kind !== "mlp") return theta[0] * x + theta[1] * y + theta[2];
  let sum = theta[4 * HIDDEN];
  for (let j = 0; j < HIDDEN; j += 1) {
    sum += theta[3 * HIDDEN + j] * Math.tanh(theta[3 * j] * x + theta[3 * j + 1] * y + theta[3 * j + 2]);
  }
  return sum;
}

/** Add `scale` times the gradient of the score at (x, y) to `into`. */
function addScoreGradient(kind, theta, x, y, scale, into) {
  if (kind !== "mlp") {
    into[0] += scale * x;
    into[1] += scale * y;
    into[2] += scale;
    return;
  }
  for (let j = 0; j < HIDDEN; j += 1) {
    const h = Math.tanh(theta[3 * j] * x + theta[3 * j + 1] * y + theta[3 * j + 2]);
    const back = scale * theta[3 * HIDDEN + j] * (1 - h * h);
    into[3 * j] += back * x;
    into[3 * j + 1] += back * y;
    into[3 * j + 2] += back;
    into[3 * HIDDEN + j] += scale * h;
  }
  into[4 * HIDDEN] += scale;
}

/** Binary cross-entropy f_i of each point, written so that large scores do not overflow. */
export function losses(kind, theta, points) {
  return Float64Array.from(points.label, (label, i) => {
    const s = score(kind, theta, points.x[i], points.y[i]);
    return Math.max(s, 0) - s * label + Math.log1p(Math.exp(-Math.abs(s)));
  });
}

/** Sum of weights[i] times the gradient of f_i. */
export function weightedGradient(kind, theta, points, weights) {
  const gradient = new Float64Array(theta.length);
  for (let i = 0; i < points.label.length; i += 1) addLossGradient(kind, theta, points, i, weights[i], gradient);
  return gradient;
}

/** Add `scale` times the gradient of f_i: (sigmoid(score) - label) times the gradient of the score. */
function addLossGradient(kind, theta, points, i, scale, into) {
  const x = points.x[i];
  const y = points.y[i];
  const probability = 1 / (1 + Math.exp(-score(kind, theta, x, y)));
  addScoreGradient(kind, theta, x, y, scale * (probability - points.label[i]), into);
}

/** u_i, the inner product of the gradient of f_i with the gradient of the clean loss: equation (7) up to a factor. */
export function alignment(kind, theta, batch, clean) {
  const v = weightedGradient(kind, theta, clean, equalWeights(clean.label.length));
  const own = new Float64Array(theta.length);
  return Float64Array.from(batch.label, (_, i) => {
    own.fill(0);
    addLossGradient(kind, theta, batch, i, 1, own);
    return own.reduce((sum, g, k) => sum + g * v[k], 0);
  });
}

export function equalWeights(n) {
  return new Float64Array(n).fill(1 / n);
}

/** Weights from alignments: negative ones cut off, the rest scaled to sum to 1, or all 0. Equations (8) and (9). */
export function weightsFrom(u) {
  const w = u.map((value) => Math.max(value, 0));
  const total = w.reduce((sum, value) => sum + value, 0);
  if (!Number.isFinite(total)) return w.fill(NaN); // must show up in the parameters, not vanish in a division
  return total === 0 ? w : w.map((value) => value / total);
}

/** One step of SGD on `theta`, in place; returns the weights used. All weights 0 move nothing. */
export function step(kind, theta, batch, clean, rate, method) {
  const scored = method === "l2rw";
  const weights = scored ? weightsFrom(alignment(kind, theta, batch, clean)) : equalWeights(batch.label.length);
  const gradient = weightedGradient(kind, theta, batch, weights);
  for (let k = 0; k < theta.length; k += 1) theta[k] -= rate * gradient[k];
  return weights;
}

/** Share of points on the right side of the boundary. */
export function accuracy(kind, theta, points) {
  let right = 0;
  for (let i = 0; i < points.label.length; i += 1) {
    right += score(kind, theta, points.x[i], points.y[i]) > 0 === (points.label[i] === 1);
  }
  return right / points.label.length;
}

export function take(points, indices) {
  const chosen = (values) => Float64Array.from(indices, (i) => values[i]);
  return { x: chosen(points.x), y: chosen(points.y), label: chosen(points.label) };
}

/** Draw `count` of n indices without repetition; `order`, a list of all n, is shuffled as far as needed. */
function drawBatch(uniform, order, count) {
  for (let k = 0; k < count; k += 1) {
    const other = k + Math.floor(uniform() * (order.length - k));
    [order[k], order[other]] = [order[other], order[k]];
  }
  return order.slice(0, count);
}

/** All methods before their first step: same parameters, and, but for the one that has only the clean points, same batches. */
export function makeRun(settings) {
  const data = makeData(settings);
  const theta = initModel(settings.model, settings.seed);
  const run = {
    settings,
    data,
    theta: { plain: theta, l2rw: theta.slice(), clean: theta.slice() },
    steps: 0,
    failed: null, // the method whose parameters stopped being finite numbers
    history: [],
    uniform: uniforms(settings.seed, STREAM.batches),
    order: Array.from(data.ids, (_, i) => i),
  };
  record(run);
  return run;
}

/** One step of every method, of two on the same batch and of one on the clean points. Does nothing at the end of the run or after a failure. */
export function advance(run) {
  if (isOver(run)) return;
  const { model, learning_rate: rate } = run.settings;
  const batch = take(run.data.train, drawBatch(run.uniform, run.order, Math.min(BATCH, run.order.length)));
  for (const method of Object.keys(run.theta)) {
    step(model, run.theta[method], method === "clean" ? run.data.clean : batch, run.data.clean, rate, method);
    if (!run.theta[method].every(Number.isFinite)) run.failed ??= method;
  }
  run.steps += 1;
  if (!run.failed && run.steps % RECORD_EVERY === 0) record(run);
}

export function isOver(run) {
  return run.failed !== null || run.steps >= MAX_STEPS;
}

function record(run) {
  const test = (method) => accuracy(run.settings.model, run.theta[method], run.data.test);
  run.history.push({ step: run.steps, plain: test("plain"), l2rw: test("l2rw"), clean: test("clean") });
}

/** The run with these settings after `steps` steps: the same answer whichever way the reader came here. */
export function simulate(settings, steps) {
  const run = makeRun(settings);
  while (run.steps < steps && !isOver(run)) advance(run);
  return run;
}

/** What a method would give every training point now: its weight if the whole training set were the batch. */
export function currentWeights(run, method) {
  if (method === "plain") return equalWeights(run.data.ids.length);
  if (method === "clean") return new Float64Array(run.data.ids.length);
  return weightsFrom(alignment(run.settings.model, run.theta.l2rw, run.data.train, run.data.clean));
}

/** How many points, heaviest first, it takes to hold half of the weight; 0 if there is no weight. */
export function holdersOfHalf(weights) {
  const sorted = Array.from(weights).sort((a, b) => b - a);
  let held = 0;
  return sorted.reduce((count, w) => (w > 0 && held < 0.5 ? ((held += w), count + 1) : count), 0);
}

// --- 2. The settings and their words ------------------------------------------------------------------------------

/** Range of each number, the positions of its slider, and its name in the address. Python checks the same ranges. */
export const RANGES = {
  noise: { low: 0, high: 0.9, short: "noise", stops: Array.from({ length: 19 }, (_, k) => k / 20) },
  imbalance: { low: 1, high: 50, short: "imbalance", stops: [1, 2, 3, 5, 10, 20, 50] },
  clean_size: { low: 2, high: 40, short: "clean", whole: true, stops: [2, 4, 6, 10, 20, 30, 40] },
  learning_rate: { low: 0.01, high: 10, short: "rate", stops: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10] },
  seed: { low: 0, high: 9999, short: "seed", whole: true },
  n: { low: 20, high: 400, short: "n", whole: true },
  steps: { low: 0, high: MAX_STEPS, short: "steps", whole: true },
};
export const DATA = { clouds: "two clouds", rings: "a ring around a disc" };
export const MODELS = { logistic: "logistic regression", mlp: "network, 8 tanh units" };

function clampNumber(value, { low, high, whole }, fallback) {
  if (typeof value !== "number" || Number.isNaN(value)) return fallback;
  const inside = Math.min(high, Math.max(low, value));
  return whole ? Math.round(inside) : inside;
}

/** Settings that can be run: numbers outside their range go to its end, what makes no sense is as in `fallback`. */
export function clampSettings(raw, fallback) {
  const settings = {};
  for (const key of Object.keys(RANGES)) settings[key] = clampNumber(raw[key], RANGES[key], fallback[key]);
  settings.model = Object.hasOwn(MODELS, raw.model) ? raw.model : fallback.model;
  settings.data = Object.hasOwn(DATA, raw.data) ? raw.data : fallback.data;
  const flips = Array.isArray(raw.flips) ? raw.flips : fallback.flips;
  settings.flips = [...new Set(flips)].filter((id) => /^[ct]\d{1,3}$/.test(id));
  return settings;
}

/** What the text of an address says about the settings, unchecked. */
export function parseSettings(text) {
  const words = new Map(text.split(",").map((pair) => pair.split(":", 2)));
  const raw = { model: words.get("model"), data: words.get("data") };
  for (const [key, { short }] of Object.entries(RANGES)) {
    if (words.get(short)?.trim()) raw[key] = Number(words.get(short));
  }
  raw.flips = words.get("flip")?.split(".") ?? [];
  return raw;
}

/** The settings as text for an address: "noise:0.5,imbalance:5,...". */
export function settingsText(settings) {
  const pairs = Object.entries(RANGES).map(([key, { short }]) => `${short}:${settings[key]}`);
  pairs.push(`model:${settings.model}`, `data:${settings.data}`);
  if (settings.flips.length) pairs.push(`flip:${settings.flips.join(".")}`);
  return pairs.join(",");
}

const percent = (share) => `${Math.round(100 * share)}%`;
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** The control's value in words. */
export function valueInWords(key, settings) {
  const value = settings[key];
  const rare = rareCount(settings.n, settings.imbalance);
  if (key === "noise") return `${percent(value)} (${Math.round(value * rare)} of ${rare})`;
  if (key === "imbalance") return `${value} (${settings.n - rare} to ${rare})`;
  if (key === "clean_size") return counted(value, "point");
  return String(value);
}

/** What is to be seen, in sentences computed from the run. */
export function describe(run) {
  if (run.failed) return describeFailure(run);
  const { model } = run.settings;
  const right = (method) => percent(accuracy(model, run.theta[method], run.data.test));
  if (run.steps === 0) {
    return `Before the first step all three models are the same: ${right("plain")} of the test points are right.`;
  }
  const end = run.steps >= MAX_STEPS ? " The run ends here." : "";
  return (
    `After ${counted(run.steps, "step")} L2RW classifies ${right("l2rw")} of the test points correctly, ` +
    `plain training ${right("plain")}, the clean points alone ${right("clean")}; ${describeWeights(run)}${end}`
  );
}

function describeWeights(run) {
  const weights = currentWeights(run, "l2rw");
  const holders = holdersOfHalf(weights);
  if (holders === 0) return "no training point agrees with the clean points, so every weight is 0.";
  const wrong = wrongLabels(run.data);
  const half = `${holders} of ${weights.length} points ${holders === 1 ? "carries" : "carry"} half of the weight`;
  if (wrong.length === 0) return `${half}, and no label is wrong.`;
  const share = wrong.reduce((sum, i) => sum + weights[i], 0);
  const part = share < 0.005 ? "next to none" : percent(share);
  return `${half}. The share of the ${counted(wrong.length, "wrong label")} is ${part}.`;
}

function describeFailure(run) {
  const method = { plain: "plain training", l2rw: "L2RW", clean: "the model of the clean points" }[run.failed];
  return (
    `At step ${run.steps} the parameters of ${method} stopped being finite numbers, so the run has ended. ` +
    "Lower the learning rate, then press Reset."
  );
}

/** Indices of the training points whose label is not the true one. */
export function wrongLabels(data) {
  return data.ids.map((_, i) => i).filter((i) => data.train.label[i] !== data.truth[i]);
}

/** One training point in words, for readers who move among the points by keyboard. */
export function describePoint(run, i) {
  const { train, truth, ids } = run.data;
  const shape = (label) => (label === 1 ? "circle" : "triangle");
  const right = train.label[i] === truth[i] ? "which is right" : `but it is a ${shape(truth[i])}`;
  const times = currentWeights(run, "l2rw")[i] * ids.length;
  const place = `${train.x[i].toFixed(1)} across, ${train.y[i].toFixed(1)} up`;
  const weight = Number.isFinite(times) ? `L2RW gives it ${times.toFixed(1)} times the equal weight` : "no weight";
  return `Point at ${place}: labelled ${shape(train.label[i])}, ${right}; ${weight}. Enter flips its label.`;
}

/** The point next to `from` in a direction of the plane, the cursor keys' way; `from` itself if there is none. */
export function neighbour(points, from, dx, dy) {
  let best = from;
  let shortest = Infinity;
  for (let i = 0; i < points.x.length; i += 1) {
    const along = (points.x[i] - points.x[from]) * dx + (points.y[i] - points.y[from]) * dy;
    const across = Math.abs((points.x[i] - points.x[from]) * dy - (points.y[i] - points.y[from]) * dx);
    if (along <= 0 || across > along || along + 2 * across >= shortest) continue;
    best = i;
    shortest = along + 2 * across;
  }
  return best;
}

// --- 3. The drawing ------------------------------------------------------------------------------------------------

// The book's colours, by role; each is at least 3:1 against white and against the dark page.
const COLOURS = {
  l2rw: "#0d7ac4",
  baseline: "#d55e00",
  clean: "#009e73",
  noisy: "#c2409a",
  minority: "#8a6fe0",
  majority: "#a87b05",
};
const METHODS = {
  plain: { title: "Plain training", name: "plain", colour: COLOURS.baseline, dash: [8, 4] },
  l2rw: { title: "L2RW", name: "L2RW", colour: COLOURS.l2rw, dash: [] },
  clean: { title: "Clean only", name: "clean only", colour: COLOURS.clean, dash: [2, 4] },
};
const CLASS_COLOURS = [COLOURS.minority, COLOURS.majority];
const CELLS = { across: 54, up: 42 }; // of the grid on which the boundary is found

/** The canvas's context in CSS pixels, wiped; its bitmap follows the size on the page and the screen's density. */
function freshContext(canvas) {
  const density = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
  }
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  context.lineJoin = "round";
  return { context, width, height };
}

/** The map from points of the plane to pixels of a panel. */
function pixelMap(width, height) {
  const unit = width / (2 * LIMITS.x);
  return (x, y) => [(x + LIMITS.x) * unit, height / 2 - y * unit];
}

/** Scores at the corners of the grid, row by row from the top. */
function gridScores(kind, theta) {
  const values = new Float64Array((CELLS.across + 1) * (CELLS.up + 1));
  for (let row = 0, k = 0; row <= CELLS.up; row += 1) {
    for (let column = 0; column <= CELLS.across; column += 1, k += 1) {
      const x = LIMITS.x * ((2 * column) / CELLS.across - 1);
      values[k] = score(kind, theta, x, LIMITS.y * (1 - (2 * row) / CELLS.up));
    }
  }
  return values;
}

/** The region of class 0 and the boundary as paths: each cell of the grid is cut where the score passes through 0. */
function boundaryPaths(values, width, height) {
  const region = new Path2D();
  const line = new Path2D();
  const size = [width / CELLS.across, height / CELLS.up];
  for (let row = 0; row < CELLS.up; row += 1) {
    let inside = 0; // cells of a row that lie wholly inside go in as one rectangle
    for (let column = 0; column <= CELLS.across; column += 1) {
      const whole = column < CELLS.across && cornersOf(row, column).every(([, , k]) => values[k] <= 0);
      if (whole) {
        inside += 1;
        continue;
      }
      if (inside) region.rect((column - inside) * size[0], row * size[1], inside * size[0], size[1]);
      inside = 0;
      if (column < CELLS.across) cutCell(values, cornersOf(row, column), size, region, line);
    }
  }
  return { region, line };
}

/** Corners of a cell in order, as [column, row, index]. */
function cornersOf(row, column) {
  const k = row * (CELLS.across + 1) + column;
  const below = k + CELLS.across + 1;
  return [[column, row, k], [column + 1, row, k + 1], [column + 1, row + 1, below + 1], [column, row + 1, below]];
}

function cutCell(values, corners, [wide, high], region, line) {
  const outline = [];
  const crossings = [];
  corners.forEach(([column, row, k], position) => {
    const [nextColumn, nextRow, next] = corners[(position + 1) % 4];
    if (values[k] <= 0) outline.push([column * wide, row * high]);
    if (values[k] <= 0 === values[next] <= 0) return;
    const t = values[k] / (values[k] - values[next]);
    const crossing = [(column + t * (nextColumn - column)) * wide, (row + t * (nextRow - row)) * high];
    outline.push(crossing);
    crossings.push(crossing);
  });
  outline.forEach((place, k) => (k ? region.lineTo(...place) : region.moveTo(...place)));
  if (outline.length) region.closePath();
  crossings.forEach((place, k) => (k % 2 ? line.lineTo(...place) : line.moveTo(...place)));
}

/** Shade what the model takes for circles, hatch what it takes for triangles, and draw the boundary between them. */
function drawField(context, width, height, paths, look) {
  context.globalAlpha = 0.12;
  context.fillStyle = COLOURS.majority;
  context.fillRect(0, 0, width, height);
  context.save();
  context.clip(paths.region);
  context.clearRect(0, 0, width, height);
  context.fillStyle = context.strokeStyle = COLOURS.minority;
  context.fillRect(0, 0, width, height);
  context.globalAlpha = 0.3;
  context.lineWidth = 1;
  context.beginPath();
  for (let start = -height; start < width; start += 9) {
    context.moveTo(start, height);
    context.lineTo(start + height, 0);
  }
  context.stroke();
  context.restore();
  context.globalAlpha = 1;
  // Dashes would start anew in each cell; the paper-coloured halo and the method's colour tell the lines apart.
  context.lineCap = "round";
  strokeTwice(context, paths.line, look.colour, 3, look.paper);
  context.lineCap = "butt";
}

function strokeTwice(context, path, colour, lineWidth, halo) {
  context.lineWidth = lineWidth + 3;
  context.strokeStyle = halo;
  context.stroke(path);
  context.lineWidth = lineWidth;
  context.strokeStyle = colour;
  context.stroke(path);
}

/** A circle for class 1, a triangle for class 0, of the area of a circle of this radius. */
function shapePath(label, [left, top], radius) {
  const path = new Path2D();
  if (label === 1) {
    path.arc(left, top, radius, 0, 2 * Math.PI);
    return path;
  }
  const reach = radius * Math.sqrt((4 * Math.PI) / Math.sqrt(27)); // from the centre to a corner
  for (const turn of [0, 1, 2]) {
    const angle = ((4 * turn - 3) * Math.PI) / 6;
    path.lineTo(left + reach * Math.cos(angle), top + reach * Math.sin(angle));
  }
  path.closePath();
  return path;
}

function crossPath([left, top], reach) {
  const path = new Path2D();
  path.moveTo(left - reach, top - reach);
  path.lineTo(left + reach, top + reach);
  path.moveTo(left + reach, top - reach);
  path.lineTo(left - reach, top + reach);
  return path;
}

function distanceToSegment([left, top], from, to) {
  const [wide, high] = [to[0] - from[0], to[1] - from[1]];
  const share = ((left - from[0]) * wide + (top - from[1]) * high) / (wide * wide + high * high || 1);
  const near = Math.min(1, Math.max(0, share));
  return Math.hypot(from[0] + near * wide - left, from[1] + near * high - top);
}

/** Radius of a point of equal weight: fewer points are drawn larger, so that the ink stays the same. */
function equalRadius(width, n) {
  return Math.max(2, 0.0105 * width * Math.sqrt(200 / n));
}

/** Training points: the outline is the size of equal weight, the filled area is the weight. Heavy ones go below. */
function drawTrainingPoints(context, data, weights, toPixels, radius, paper) {
  const { train, truth } = data;
  const heavyFirst = data.ids.map((_, i) => i).sort((a, b) => weights[b] - weights[a]);
  for (const i of heavyFirst) {
    const place = toPixels(train.x[i], train.y[i]);
    const colour = CLASS_COLOURS[train.label[i]];
    const own = radius * Math.sqrt(weights[i] * weights.length);
    context.fillStyle = colour;
    context.globalAlpha = 0.8;
    if (own > 0) context.fill(shapePath(train.label[i], place, own));
    context.globalAlpha = 1;
    context.lineWidth = 1;
    context.strokeStyle = own >= radius ? paper : colour;
    context.stroke(shapePath(train.label[i], place, Math.max(own, radius)));
    if (train.label[i] !== truth[i]) strokeTwice(context, crossPath(place, radius + 1), COLOURS.noisy, 1.75, paper);
  }
}

function drawCleanPoints(context, clean, toPixels, radius, paper) {
  clean.label.forEach((label, i) => {
    const place = toPixels(clean.x[i], clean.y[i]);
    const ring = shapePath(1, place, radius + 4);
    context.fillStyle = paper;
    context.fill(ring);
    strokeTwice(context, ring, COLOURS.clean, 2.25, paper);
    context.fillStyle = CLASS_COLOURS[label];
    context.fill(shapePath(label, place, Math.max(radius, 2.5)));
  });
}

/** A ring at the keyboard's point or under the brush. */
function drawRing(context, place, radius, ink, paper, dash) {
  context.setLineDash(dash);
  strokeTwice(context, shapePath(1, place, radius), ink, 2, paper);
  context.setLineDash([]);
}

/** Test accuracy of every method over the steps. The axes are those of the longest run, whatever was run so far. */
function drawChart(canvas, history, { ink }) {
  const { context, width, height } = freshContext(canvas);
  const box = { left: 44, right: width - 120, top: 10, bottom: height - 40 };
  const toX = (steps) => box.left + (steps / MAX_STEPS) * (box.right - box.left);
  const toY = (share) => box.bottom - share * (box.bottom - box.top);
  context.font = "13px system-ui, sans-serif";
  context.fillStyle = context.strokeStyle = ink;
  drawGrid(context, box, toX, toY);
  for (const [method, { colour, dash }] of Object.entries(METHODS)) {
    const path = new Path2D();
    for (const entry of history) path.lineTo(toX(entry.step), toY(entry[method]));
    context.lineWidth = 2.25;
    context.strokeStyle = colour;
    context.setLineDash(dash);
    context.stroke(path);
    context.setLineDash([]);
  }
  labelEnds(context, history, box, toX, toY, { ink });
}

function drawGrid(context, box, toX, toY) {
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    context.globalAlpha = share === 0 ? 0.7 : 0.18;
    context.stroke(new Path2D(`M${box.left} ${Math.round(toY(share)) + 0.5}H${box.right}`));
    context.globalAlpha = 1;
    if (share % 0.5 === 0) context.fillText(percent(share), box.left - 6, toY(share));
  }
  context.textAlign = "center";
  context.textBaseline = "top";
  for (let steps = 0; steps <= MAX_STEPS; steps += 100) {
    context.fillText(String(steps), Math.min(toX(steps), box.right - 8), box.bottom + 5);
  }
  context.fillText("steps", (box.left + box.right) / 2, box.bottom + 22);
}

/** Heights for words, at least `gap` apart and none below `bottom`, each as near to its own as that allows. */
export function keptApart(heights, gap, bottom) {
  const order = heights.map((_, k) => k).sort((a, b) => heights[a] - heights[b]);
  const kept = heights.slice();
  for (let k = 1; k < order.length; k += 1) {
    kept[order[k]] = Math.max(kept[order[k]], kept[order[k - 1]] + gap);
  }
  let limit = bottom;
  for (const k of order.reverse()) {
    kept[k] = Math.min(kept[k], limit);
    limit = kept[k] - gap;
  }
  return kept;
}

/** Name each line beside its end, with its marker; the names keep apart. */
function labelEnds(context, history, box, toX, toY, { ink }) {
  const last = history[history.length - 1];
  const x = toX(last.step);
  const methods = Object.keys(METHODS);
  const heights = keptApart(methods.map((method) => toY(last[method])), 17, box.bottom - 6);
  context.textAlign = "left";
  context.textBaseline = "middle";
  methods.forEach((method, k) => {
    const y = toY(last[method]);
    const marker = method === "l2rw" ? shapePath(1, [x, y], 4.5) : new Path2D();
    if (method === "plain") marker.rect(x - 4, y - 4, 8, 8);
    if (method === "clean") marker.addPath(new Path2D(`M${x} ${y - 5.5}L${x + 5.5} ${y}L${x} ${y + 5.5}L${x - 5.5} ${y}Z`));
    context.fillStyle = METHODS[method].colour;
    context.fill(marker);
    context.fillStyle = ink;
    context.fillText(`${METHODS[method].name} ${percent(last[method])}`, x + 11, heights[k]);
  });
}

// --- 4. The widget -------------------------------------------------------------------------------------------------

// `&` stands for the playground's own class.
const STYLE = `
& { box-sizing: border-box; width: 100%; padding: 4px; line-height: 1.4; font-size: 0.95rem;
  font-family: var(--pst-font-family-base, system-ui, sans-serif);
  color: var(--pst-color-text-base, var(--jp-content-font-color1, inherit));
  --paper: var(--pst-color-background, var(--jp-layout-color0, Canvas));
  --line: color-mix(in srgb, currentColor 45%, transparent); background: var(--paper); }
& * { box-sizing: border-box; }
& [hidden] { display: none; }
& p, & figure, & ul { margin: 0; padding: 0; }
& .bar { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; margin-bottom: 10px; }
& button, & select, & input[type=number] {
  font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line); border-radius: 6px;
  min-height: 40px; padding: 4px 12px; max-width: 100%; margin: 0; }
& button { cursor: pointer; }
& button:hover { border-color: currentColor; }
& .run { min-width: 8.5em; font-weight: 600; border: 2px solid ${COLOURS.l2rw}; }
& :is(button, select, input, canvas):focus-visible { outline: 3px solid currentColor; outline-offset: 2px; }
& .two, & .panels { display: grid; gap: 10px 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 270px), 1fr)); }
&.wide { display: grid; grid-template-columns: 15em minmax(0, 1fr); gap: 0 24px; align-items: start; }
&.wide .panels { grid-template-columns: repeat(3, minmax(0, 1fr)); }
&.wide .chart { grid-column: 1 / -1; }
&.wide .controls { grid-column: 1; grid-row: 1 / span 9; }
&.wide > :not(.controls, style, .silent) { grid-column: 2; }
&.wide .two, &.wide .choices { grid-template-columns: 1fr; }
& canvas { display: block; width: 100%; background: var(--paper); }
& .panel canvas { aspect-ratio: 9 / 7; border: 1px solid var(--line); border-radius: 6px;
  cursor: crosshair; touch-action: pan-y; user-select: none; }
& .head { display: flex; justify-content: space-between; gap: 0 8px; margin-bottom: 4px; white-space: nowrap; }
&.wide .head { flex-direction: column; }
& .head svg { margin-right: 6px; }
& .numbers, & .value { font-variant-numeric: tabular-nums; }
& .legend { display: flex; flex-wrap: wrap; gap: 2px 16px; list-style: none; margin: 8px 0; font-size: 0.875rem; }
& .legend li { display: inline-flex; align-items: center; gap: 5px; margin: 0; }
& .hint { min-height: 2.8em; font-size: 0.875rem; }
& .sentence { min-height: 4.2em; margin: 6px 0 10px; padding-left: 10px; border-left: 3px solid ${COLOURS.l2rw}; }
& .failed { border-left: 6px double ${COLOURS.baseline}; font-weight: 600; }
&.narrow .sentence { min-height: 8.4em; }
&.narrow .hint { min-height: 5.6em; }
& .chart canvas { height: 230px; }
& label { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 8px; margin-bottom: 8px; }
& label .value { font-weight: 600; white-space: nowrap; }
& input[type=range] { display: block; width: 100%; height: 28px; margin: 0; appearance: none; cursor: pointer;
  background: linear-gradient(var(--line), var(--line)) center / 100% 6px no-repeat; }
& input[type=range]::-webkit-slider-thumb { appearance: none; width: 24px; height: 24px; border: 2px solid var(--paper);
  border-radius: 50%; background: ${COLOURS.l2rw}; }
& input[type=range]::-moz-range-thumb { width: 22px; height: 22px; border: 2px solid var(--paper); border-radius: 50%;
  background: ${COLOURS.l2rw}; }
& .choices { display: grid; grid-template-columns: 2fr 2fr 1fr; gap: 0 12px; }
&.narrow .choices { grid-template-columns: 1fr; }
& label :is(select, input[type=number]) { width: 100%; margin-top: 2px; }
& .l2rw-copy { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: center; }
& .silent { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`.replaceAll("&", ".l2rw-playground");

const SLIDERS = {
  noise: "Mislabelled triangles",
  imbalance: "Circles to one triangle",
  clean_size: "Clean set",
  learning_rate: "Learning rate",
};
const CHOICES = { data: ["Data", DATA], model: ["Model", MODELS] };
const TRAITS = ["noise", "imbalance", "clean_size", "learning_rate", "model", "data", "seed", "n"];
const HINT =
  "Click, tap or paint over points to flip their labels. " +
  "By keyboard: Tab to a panel, arrow keys from point to point, Enter.";
const BURST = 25; // steps at one press of Run where the reader has asked for less motion
const BRUSH = { mouse: 12, pen: 12, touch: 20 }; // radius in pixels: a finger is less exact
const CALM_MS = 2500; // between two spoken sentences while running
const SETTLE_MS = 400; // of quiet before a change by the reader is spoken and written to the address

const TAKES_KEYS = "data-lm-suppress-shortcuts"; // a notebook would take the arrows for its own

/** Create an element: attributes by name, listeners as functions, children as nodes or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (["canvas", "input", "select"].includes(tag)) element.setAttribute(TAKES_KEYS, "");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A small picture for a legend; `drawing` is the inside of an SVG. */
function symbol(drawing, width = 18) {
  const holder = make("span", { "aria-hidden": "true" });
  const size = `width="${width}" height="18" viewBox="0 0 ${width} 18"`;
  holder.innerHTML = `<svg ${size} fill="none" stroke-width="2" style="vertical-align:-4px">${drawing}</svg>`;
  return holder;
}

function legend() {
  const { majority, minority, noisy, clean } = COLOURS;
  const circle = (x, r, rest) => `<circle cx="${x}" cy="9" r="${r}" ${rest}/>`;
  const hatching = '<path d="M1 1H17V17H1ZM1 9 9 1M1 17 17 1M9 17 17 9"/>';
  const entries = [
    [symbol(circle(9, 5, `fill="${majority}"`)), "labelled circle"],
    [symbol(`<path d="M9 3 15.5 14H2.5Z" fill="${minority}"/>`), "labelled triangle"],
    [symbol(`<path d="M4 4 14 14M14 4 4 14" stroke="${noisy}"/>`), "wrong label"],
    [symbol(circle(9, 7, `stroke="${clean}"`) + circle(9, 3, 'fill="currentColor"')), "clean point"],
    [symbol(circle(9, 2, `fill="${majority}"`) + circle(22, 8, `fill="${majority}"`), 32), "area: weight"],
    [symbol(circle(9, 5, `stroke="${majority}" stroke-width="1"`)), "no weight"],
    [symbol(`<g stroke="${minority}" stroke-width="1">${hatching}</g>`), "model says triangle"],
  ];
  return make("ul", { class: "legend" }, ...entries.map(([picture, words]) => make("li", {}, picture, words)));
}

class Playground {
  constructor(model, host) {
    this.model = model;
    this.name = model.get("name");
    this.address = globalThis.l2rwAddress; // the book's pages have it, notebooks do not
    this.cleanups = [];
    this.defaults = this.fromTraits();
    this.settings = this.fromAddress() ?? { ...this.defaults };
    this.run = simulate(this.settings, this.settings.steps);
    this.running = false;
    this.stepsPerFrame = 1;
    this.cursor = 0;
    this.brush = null;
    this.stops = Object.fromEntries(Object.keys(SLIDERS).map((key) => [key, RANGES[key].stops.slice()]));
    host.append(this.build(host));
    this.listen();
    this.showSettings();
    this.speakNow();
    this.fit();
  }

  // Settings come from the traits, from the address, and from the reader, and go back to the first two.

  fromTraits() {
    const raw = Object.fromEntries(TRAITS.map((key) => [key, this.model.get(key)]));
    const { steps = START_STEPS[raw.data], flips = [] } = this.settings ?? {}; // these two are no traits
    return clampSettings({ ...raw, steps, flips }, { ...raw, steps, flips });
  }

  fromAddress() {
    const text = this.address?.read(this.name) ?? null;
    return text === null ? null : clampSettings(parseSettings(text), this.defaults);
  }

  position() {
    return settingsText({ ...this.settings, steps: this.run.steps });
  }

  /** The reader changed a setting: the run is computed anew, up to the step where it stands. */
  change(changes) {
    this.settings = clampSettings({ ...this.settings, ...changes }, this.settings);
    this.stale = true;
    this.showSettings();
    this.requestFrame();
    this.settle();
  }

  /** Once the reader's hand rests: say what is to be seen, and keep it in the address and in the traits. */
  settle() {
    clearTimeout(this.settleTimer);
    this.settleTimer = setTimeout(() => {
      this.refresh();
      this.speakNow();
      this.remember();
    }, SETTLE_MS);
  }

  remember() {
    this.address?.writeNow(this.name, this.position());
    this.remembering = true; // so that the first trait set does not bring the others' old values back
    for (const key of TRAITS) this.model.set(key, this.settings[key]);
    this.remembering = false;
    this.model.save_changes();
  }

  /** Bring the run up to date with the settings, if it is not. */
  refresh() {
    if (this.stale) this.run = simulate(this.settings, this.settings.steps);
    this.stale = false;
  }

  // The page.

  build(host) {
    this.runButton = make("button", { type: "button", class: "run", click: () => this.toggle() });
    this.clearButton = make("button", { type: "button", click: () => this.clearPaint() }, "Undo painting");
    this.sentence = make("p", { class: "sentence", role: "status", "aria-live": "polite" });
    this.hint = make("p", { class: "hint" }, HINT);
    this.spoken = make("p", { class: "silent", role: "status", "aria-live": "polite" });
    this.panels = Object.fromEntries(Object.keys(METHODS).map((method) => [method, this.buildPanel(method)]));
    this.chart = make("canvas", { role: "img" });
    this.title = make("div");
    const chart = make("figure", { class: "chart" }, this.title, this.chart);
    this.root = make("div", { class: "l2rw-playground", role: "group", "aria-label": "L2RW playground" });
    this.root.dataset.lmSuppressShortcuts = "true"; // in JupyterLab arrows and Enter would act on the cell
    this.root.append(
      make("style", {}, STYLE),
      this.buildBar(),
      make("div", { class: "panels" }, ...Object.values(this.panels).map((panel) => panel.figure), chart),
      legend(),
      this.hint,
      this.spoken,
      this.sentence,
      this.buildControls(),
    );
    if (this.address) this.root.append(this.address.copyButton(host, this.name, () => this.position()));
    return this.root;
  }

  buildBar() {
    const speed = make("select", { change: (event) => (this.stepsPerFrame = Number(event.target.value)) });
    speed.append(make("option", { value: "1" }, "slow"), make("option", { value: "10" }, "fast"));
    speed.setAttribute("aria-label", "Speed");
    this.speed = speed;
    const stepButton = make("button", { type: "button", click: () => this.stepOnce() }, "Step");
    const resetButton = make("button", { type: "button", click: () => this.reset() }, "Reset");
    const againButton = make("button", { type: "button", click: () => this.startOver() }, "Start over");
    return make("div", { class: "bar" }, this.runButton, stepButton, resetButton, againButton, speed, this.clearButton);
  }

  buildPanel(method) {
    const { title, colour, dash } = METHODS[method];
    const stroke = `stroke="${colour}" stroke-width="3" stroke-dasharray="${dash.join(" ")}"`;
    const line = symbol(`<path d="M0 9H32" ${stroke}/>`, 32);
    const numbers = make("span", { class: "numbers" });
    const canvas = make("canvas", { tabindex: "0", role: "application", "aria-roledescription": "field of points" });
    const head = make("div", { class: "head" }, make("strong", {}, line, title), numbers);
    return { figure: make("figure", { class: "panel" }, head, canvas), canvas, numbers };
  }

  buildControls() {
    this.inputs = {};
    this.values = {};
    const sliders = Object.entries(SLIDERS).map(([key, words]) => {
      this.values[key] = make("span", { class: "value" });
      const input = (event) => this.change({ [key]: this.stops[key][Number(event.target.value)] });
      this.inputs[key] = make("input", { type: "range", min: "0", step: "1", "aria-label": words, input });
      return make("label", {}, words, this.values[key], this.inputs[key]);
    });
    const choices = Object.entries(CHOICES).map(([key, [words, options]]) => {
      this.inputs[key] = make("select", { change: (event) => this.change({ [key]: event.target.value }) });
      for (const [value, name] of Object.entries(options)) this.inputs[key].append(make("option", { value }, name));
      return make("label", {}, words, this.inputs[key]);
    });
    const seed = (event) => this.change(event.target.value ? { seed: Number(event.target.value) } : {});
    this.inputs.seed = make("input", { type: "number", min: "0", max: "9999", step: "1", change: seed });
    choices.push(make("label", {}, "Seed", this.inputs.seed));
    const numbers = make("div", { class: "two" }, ...sliders);
    return make("div", { class: "controls" }, numbers, make("div", { class: "choices" }, ...choices));
  }

  /** Put the settings into the controls, each with its value in words. */
  showSettings() {
    for (const key of Object.keys(SLIDERS)) {
      const stops = this.stops[key];
      const value = this.settings[key];
      if (!stops.includes(value)) stops.splice(stops.filter((stop) => stop < value).length, 0, value);
      const words = valueInWords(key, this.settings);
      this.inputs[key].max = String(stops.length - 1);
      this.inputs[key].value = String(stops.indexOf(value));
      this.inputs[key].setAttribute("aria-valuetext", words);
      this.values[key].textContent = words;
    }
    const batch = Math.min(BATCH, this.settings.n);
    this.title.textContent = `Accuracy on ${TEST_SIZE} test points, batches of ${batch}`;
    for (const key of Object.keys(CHOICES)) this.inputs[key].value = this.settings[key];
    this.inputs.seed.value = String(this.settings.seed);
    this.clearButton.style.visibility = this.settings.flips.length ? "visible" : "hidden";
    this.showRunButton();
  }

  showRunButton() {
    const still = this.lessMotion.matches;
    const words = this.running ? "Pause" : still ? `Run ${BURST} steps` : "Run";
    if (this.runButton.textContent !== words) this.runButton.textContent = words;
    this.speed.hidden = still;
  }

  // What the reader does.

  listen() {
    for (const panel of Object.values(this.panels)) this.listenToPanel(panel.canvas);
    for (const key of TRAITS) this.on(this.model, `change:${key}`, () => this.followTraits());
    if (this.address) this.cleanups.push(this.address.follow(this.name, (text) => this.followAddress(text)));
    this.onEvent(this.lessMotion, "change", () => (this.pause(), this.showRunButton()));
    this.onEvent(window.matchMedia("(prefers-color-scheme: dark)"), "change", () => this.requestFrame());
    const themes = new MutationObserver(() => this.requestFrame());
    for (const element of [document.documentElement, document.body]) themes.observe(element, { attributes: true });
    const sizes = new ResizeObserver(() => this.fit());
    sizes.observe(this.root);
    this.cleanups.push(() => themes.disconnect(), () => sizes.disconnect());
  }

  get lessMotion() {
    this.motionQuery ??= window.matchMedia("(prefers-reduced-motion: reduce)");
    return this.motionQuery;
  }

  onEvent(target, type, listener) {
    target.addEventListener(type, listener);
    this.cleanups.push(() => target.removeEventListener(type, listener));
  }

  on(model, type, listener) {
    model.on(type, listener);
    this.cleanups.push(() => model.off(type, listener));
  }

  fit() {
    this.root.classList.toggle("narrow", this.root.clientWidth < 640);
    this.root.classList.toggle("wide", this.root.clientWidth >= 860);
    this.requestFrame();
  }

  /** Python, or another view of the same widget, changed a trait. */
  followTraits() {
    if (this.remembering) return;
    const given = this.fromTraits();
    if (TRAITS.some((key) => given[key] !== this.settings[key])) this.change(given);
  }

  /** The reader went back or forward to other settings on this page. */
  followAddress(text) {
    this.pause();
    this.change(clampSettings(parseSettings(text), this.defaults));
  }

  toggle() {
    if (this.running) {
      this.pause();
      return;
    }
    this.refresh();
    if (isOver(this.run)) this.restart();
    if (this.lessMotion.matches) {
      this.advanceBy(BURST);
      return;
    }
    this.running = true;
    this.showRunButton();
    this.requestFrame();
  }

  pause() {
    if (!this.running) return;
    this.running = false;
    this.showRunButton();
    this.settle();
  }

  stepOnce() {
    this.pause();
    this.refresh();
    this.advanceBy(1);
  }

  advanceBy(count) {
    for (let k = 0; k < count; k += 1) advance(this.run);
    this.settings.steps = this.run.steps;
    this.requestFrame();
    this.settle();
  }

  reset() {
    this.pause();
    this.restart();
    this.settle();
  }

  /** Everything as the page opened with, for who has moved or painted too much. */
  startOver() {
    this.pause();
    this.change({ ...this.defaults });
  }

  restart() {
    this.settings = { ...this.settings, steps: 0 };
    this.stale = true;
    this.refresh();
    this.requestFrame();
  }

  clearPaint() {
    this.clearButton.blur(); // it is about to disappear
    this.panels.plain.canvas.focus({ preventScroll: true });
    this.change({ flips: [] });
  }

  flipLabels(indices) {
    const flips = new Set(this.settings.flips);
    for (const i of indices) {
      const id = this.run.data.ids[i];
      if (!flips.delete(id)) flips.add(id);
    }
    this.change({ flips: [...flips] });
  }

  listenToPanel(canvas) {
    const listeners = {
      pointerdown: (event) => this.startStroke(event),
      pointermove: (event) => this.moveBrush(event),
      pointerup: (event) => this.endStroke(event),
      pointercancel: () => this.dropBrush(),
      pointerleave: () => this.stroke || this.dropBrush(),
      keydown: (event) => this.onKey(event),
      focus: () => this.showCursor(),
      blur: () => this.showCursor(),
    };
    for (const [type, listener] of Object.entries(listeners)) canvas.addEventListener(type, listener);
  }

  startStroke(event) {
    if (event.button !== 0) return;
    // A finger on its way down the page must not paint: touch waits for a move sideways or for the end of a tap.
    this.stroke = { met: new Set(), waits: event.pointerType === "touch", x: event.clientX, y: event.clientY };
    this.brush = null;
    this.brushAt(event);
    if (this.stroke.waits) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    this.paint();
  }

  moveBrush(event) {
    if (this.stroke?.waits) this.decideStroke(event);
    if (this.stroke?.waits) return;
    this.brushAt(event);
    if (this.stroke) this.paint();
    this.requestFrame();
  }

  decideStroke(event) {
    const sideways = Math.abs(event.clientX - this.stroke.x);
    const along = Math.abs(event.clientY - this.stroke.y);
    if (Math.max(sideways, along) < 8) return;
    if (sideways > along) this.stroke.waits = false;
    else this.dropBrush();
  }

  endStroke(event) {
    if (this.stroke) {
      this.brushAt(event);
      this.paint();
    }
    this.stroke = null;
    if (event.pointerType === "touch") this.dropBrush();
  }

  dropBrush() {
    this.stroke = null;
    this.brush = null;
    this.requestFrame();
  }

  /** Move the brush to the pointer, and keep where it was: it paints all along its way. */
  brushAt(event) {
    const canvas = event.currentTarget;
    const bounds = canvas.getBoundingClientRect();
    const place = [event.clientX - bounds.left - canvas.clientLeft, event.clientY - bounds.top - canvas.clientTop];
    this.brush = { place, from: this.brush?.place ?? place, radius: BRUSH[event.pointerType] ?? BRUSH.mouse, canvas };
  }

  /** Flip every label that the brush went over, each once in a stroke. */
  paint() {
    const { place, from, radius, canvas } = this.brush;
    const toPixels = pixelMap(canvas.clientWidth, canvas.clientHeight);
    const { x, y } = this.run.data.train;
    const met = [...x.keys()].filter(
      (i) => !this.stroke.met.has(i) && distanceToSegment(toPixels(x[i], y[i]), from, place) <= radius,
    );
    met.forEach((i) => this.stroke.met.add(i));
    if (met.length) this.flipLabels(met);
  }

  onKey(event) {
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const { train, ids } = this.run.data;
    const byPlace = [...train.x.keys()].sort((a, b) => train.x[a] - train.x[b]);
    const along = (by) => byPlace[(byPlace.indexOf(this.cursor) + by + ids.length) % ids.length];
    const actions = {
      Enter: () => this.flipLabels([this.cursor]),
      " ": () => this.flipLabels([this.cursor]),
      Home: () => (this.cursor = byPlace[0]),
      End: () => (this.cursor = byPlace[ids.length - 1]),
      PageUp: () => (this.cursor = along(-1)),
      PageDown: () => (this.cursor = along(1)), // every point can be reached this way, from left to right
    };
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in directions) this.cursor = neighbour(train, this.cursor, ...directions[event.key]);
    else if (event.key in actions) actions[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.refresh();
    this.showCursor();
  }

  /** The panel that has the keyboard, if any. */
  get activeCanvas() {
    return Object.values(this.panels).map((panel) => panel.canvas).find((canvas) => canvas.matches(":focus-visible"));
  }

  showCursor() {
    this.cursor = Math.min(this.cursor, this.run.data.ids.length - 1);
    const words = this.activeCanvas ? describePoint(this.run, this.cursor) : HINT;
    this.hint.textContent = words;
    this.spoken.textContent = this.activeCanvas ? words : "";
    this.requestFrame();
  }

  // Frames and sentences.

  requestFrame() {
    this.frame ??= window.requestAnimationFrame(() => this.onFrame());
  }

  onFrame() {
    this.frame = null;
    this.refresh();
    if (this.running) this.runOn();
    this.draw();
  }

  runOn() {
    for (let k = 0; k < this.stepsPerFrame; k += 1) advance(this.run);
    this.settings.steps = this.run.steps;
    if (isOver(this.run)) this.pause();
    if (!this.running) return;
    if (performance.now() - this.spokenAt > CALM_MS) this.speakNow();
    this.requestFrame();
  }

  speakNow() {
    this.spokenAt = performance.now();
    const words = describe(this.run);
    this.sentence.textContent = words;
    this.sentence.classList.toggle("failed", this.run.failed !== null);
    for (const [method, { canvas }] of Object.entries(this.panels)) {
      canvas.setAttribute("aria-label", `${METHODS[method].title}: training points and boundary. ${HINT}`);
    }
    this.chart.setAttribute("aria-label", `Test accuracy over ${this.run.steps} steps. ${words}`);
  }

  draw() {
    const style = getComputedStyle(this.chart);
    const look = { ink: style.color, paper: style.backgroundColor };
    // Native controls follow the page: light text means a dark page, whatever it calls its theme.
    this.root.style.colorScheme = isLight(look.ink) ? "dark" : "light";
    for (const method of Object.keys(METHODS)) this.drawPanel(method, look);
    drawChart(this.chart, this.run.history, look);
  }

  drawPanel(method, look) {
    const { canvas, numbers } = this.panels[method];
    const { settings, data, theta, failed } = this.run;
    const share = (points) => (failed ? "none" : percent(accuracy(settings.model, theta[method], points)));
    numbers.textContent = `test ${share(data.test)}, clean ${share(data.clean)}`;
    const { context, width, height } = freshContext(canvas);
    if (!width) return;
    const toPixels = pixelMap(width, height);
    const radius = equalRadius(width, data.ids.length);
    if (!failed) {
      const paths = boundaryPaths(gridScores(settings.model, theta[method]), width, height);
      drawField(context, width, height, paths, { colour: METHODS[method].colour, paper: look.paper });
    }
    const weights = failed ? equalWeights(data.ids.length) : currentWeights(this.run, method);
    drawTrainingPoints(context, data, weights, toPixels, radius, look.paper);
    drawCleanPoints(context, data.clean, toPixels, radius, look.paper);
    if (this.activeCanvas) {
      const place = toPixels(data.train.x[this.cursor], data.train.y[this.cursor]);
      drawRing(context, place, radius + 10, look.ink, look.paper, []);
    }
    if (this.brush?.canvas === canvas) {
      drawRing(context, this.brush.place, this.brush.radius, look.ink, look.paper, [4, 3]);
    }
  }

  destroy() {
    window.cancelAnimationFrame(this.frame);
    clearTimeout(this.settleTimer);
    this.cleanups.forEach((cleanup) => cleanup());
  }
}

/** Whether a computed colour, rgb(...) or color(srgb ...), is nearer to white than to black. */
function isLight(colour) {
  const [red, green, blue] = colour.match(/[\d.]+/g).map(Number);
  return 0.3 * red + 0.6 * green + 0.1 * blue > (colour.startsWith("rgb") ? 128 : 0.5);
}

function render({ model, el }) {
  const playground = new Playground(model, el);
  return () => playground.destroy();
}

export default { render };

// --- 5. A page without a kernel ------------------------------------------------------------------------------------

/** What a widget's model is to the playground: settings that somebody else may follow; here nobody does. */
class Settings {
  constructor(values) {
    this.values = values;
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values[name] = value;
  }

  on() {}
  off() {}
  save_changes() {}
}

function hostOn(el) {
  const model = new Settings(JSON.parse(el.dataset.settings));
  delete el.dataset.settings; // once: the module comes with each playground of a page
  render({ model, el });
}

if (typeof document !== "undefined") document.querySelectorAll(".l2rw-playground-host[data-settings]").forEach(hostOn);
