// Runs the playground's arithmetic under node: reads [{ call, args }, ...] from standard input, writes the answers.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const playground = await import(pathToFileURL(process.argv[2]));

const points = ({ x, y, label }) => ({
  x: Float64Array.from(x),
  y: Float64Array.from(y),
  label: Float64Array.from(label),
});

/** Train on the batches given by their indices; what the tests compare is every step's weights and parameters. */
function train({ kind, theta, train, clean, batches, rate, method }) {
  const data = points(train);
  const parameters = Float64Array.from(theta);
  return batches.map((indices) => {
    const batch = playground.take(data, indices);
    const losses = playground.losses(kind, parameters, batch);
    const weights = playground.step(kind, parameters, batch, points(clean), rate, method);
    return { losses, weights, theta: parameters.slice() };
  });
}

/** The run with these settings after so many steps, and what the page says about it. */
function simulated(settings, steps) {
  const run = playground.simulate(settings, steps);
  return { ...run, uniform: undefined, sentence: playground.describe(run) };
}

const own = { train, simulated, point: (settings, i) => playground.describePoint(playground.simulate(settings, 10), i) };
const readable = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
const requests = JSON.parse(readFileSync(0, "utf8"));
const answers = requests.map(({ call, args }) => (own[call] ?? playground[call])(...args));
process.stdout.write(JSON.stringify(answers, readable));
