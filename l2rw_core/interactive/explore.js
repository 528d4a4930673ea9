// Moves through the frames of explore(): the controls choose, and one picture with its caption is seen.
//
// A page may have several, a notebook may show one twice or anew: each is set up once. On a page of the book the
// positions are kept in the address (address.js, loaded before); a notebook's address is not ours.
const ANNOUNCE_AFTER_MS = 400; // so that a held arrow key is followed by one sentence, not by one for each step

/** One slider or one set of buttons; a position counts from 0. */
class Control {
  constructor(element) {
    this.element = element;
    this.inputs = [...element.querySelectorAll("input")];
    this.isSlider = this.inputs[0].type === "range";
    this.size = this.isSlider ? Number(this.inputs[0].max) + 1 : this.inputs.length;
  }

  get position() {
    return this.isSlider ? Number(this.inputs[0].value) : this.inputs.findIndex((input) => input.checked);
  }

  set position(position) {
    if (this.isSlider) this.inputs[0].value = position;
    else this.inputs[position].checked = true;
    this.tell();
  }

  /** Say a slider's value in words. */
  tell() {
    if (!this.isSlider) return;
    const [slider] = this.inputs;
    const words = JSON.parse(slider.dataset.words)[this.position];
    slider.setAttribute("aria-valuetext", words);
    this.element.querySelector(".l2rw-value").textContent = words;
  }
}

/** Positions in a text such as "2,0", one for each control and within its range; null if it is anything else. */
function parsePositions(text, controls) {
  const parts = text.split(",");
  const fits = (part, k) => /^\d+$/.test(part) && Number(part) < controls[k].size;
  return parts.length === controls.length && parts.every(fits) ? parts.map(Number) : null;
}

class Exploration {
  constructor(root) {
    this.root = root;
    this.frames = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    this.parts = root.querySelector("script[type='text/plain']").textContent.split("\n");
    this.figure = root.querySelector("figure");
    this.pictures = [this.figure.querySelector("svg")]; // those seen so far; the first is the one at the start
    this.ids = `e${globalThis.crypto.getRandomValues(new Uint32Array(1))[0].toString(16)}`;
    this.controls = [...root.querySelectorAll(".l2rw-control")].map((element) => new Control(element));
    const form = root.querySelector("form");
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => this.onMove());
    form.addEventListener("keydown", (event) => event.stopPropagation()); // a notebook would go to its next cell
    this.place();
  }

  get positions() {
    return this.controls.map((control) => control.position);
  }

  /** A picture is put together when it is first seen; its ids are its own even where a notebook shows it twice. */
  picture(number) {
    this.pictures[number] ??= this.assembled(this.frames.runs[number]);
    return this.pictures[number];
  }

  assembled(runs) {
    const lines = [];
    for (let k = 0; k < runs.length; k += 2) lines.push(...this.parts.slice(runs[k], runs[k] + runs[k + 1]));
    const holder = document.createElement("div");
    holder.innerHTML = lines.join("").replaceAll(/(id="|href="#|url\(#)@/g, `$1${this.ids}`);
    return holder.firstElementChild;
  }

  show() {
    const frame = this.controls.reduce((at, control) => at * control.size + control.position, 0);
    const picture = this.picture(this.frames.pictures[frame]);
    const before = this.figure.querySelector("svg");
    if (picture !== before) before.replaceWith(picture);
    this.figure.querySelector("figcaption").textContent = this.frames.captions[frame];
  }

  onMove() {
    for (const control of this.controls) control.tell();
    this.show();
    this.announce();
    if (this.isPlaced) globalThis.l2rwAddress.write(this.root.dataset.name, this.positions.join(","));
  }

  announce() {
    clearTimeout(this.timer);
    this.live ??= this.liveRegion();
    const caption = this.figure.querySelector("figcaption").textContent;
    this.timer = setTimeout(() => (this.live.textContent = caption), ANNOUNCE_AFTER_MS);
  }

  liveRegion() {
    const region = document.createElement("div");
    region.className = "l2rw-live";
    region.setAttribute("role", "status");
    this.root.append(region);
    return region;
  }

  /** Keep the positions in the address; of two with one name on a page, only the first. */
  place() {
    const address = globalThis.l2rwAddress;
    const { name } = this.root.dataset;
    const first = document.querySelector(`.l2rw-explore[data-name="${CSS.escape(name)}"]`);
    if (!address || first !== this.root) return;
    this.isPlaced = true;
    const text = address.read(name);
    if (text !== null) this.restore(text);
    address.follow(name, (value) => this.restore(value));
    this.root.append(address.copyButton(this.root, name, () => this.positions.join(",")));
  }

  restore(text) {
    const positions = parsePositions(text, this.controls);
    if (!positions) return;
    for (const [k, position] of positions.entries()) this.controls[k].position = position;
    this.show();
  }
}

for (const root of document.querySelectorAll(".l2rw-explore:not([data-ready])")) {
  root.dataset.ready = "true";
  new Exploration(root);
}
