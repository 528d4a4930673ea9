// Gives the sliders of explore() what ipywidgets leaves out: a name, a value in words, a voice for the caption, and a
// place in the page's address (address.js, which is loaded before).
// For pages without a kernel; the widget works without it, but a screen reader would hear "slider, 2".
(() => {
  const ANNOUNCE_AFTER_MS = 400; // so that a held arrow key is followed by one sentence, not by one for each step
  const REDRAW_MS = 50; // after which a figure that was told to change has begun to
  const NAME = /(?:^| )l2rw-at-(\S+)/;

  const setAttribute = (element, name, value) => {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  };

  const describeSlider = (control) => {
    const handle = control.querySelector("[role=slider]");
    const label = control.querySelector(".l2rw-label");
    const value = control.querySelector(".l2rw-value");
    if (!handle || !label || !value) return;
    setAttribute(handle, "aria-label", label.textContent);
    setAttribute(handle, "aria-valuetext", value.textContent);
  };

  const liveRegion = (explore) => {
    const region = document.createElement("div");
    region.className = "l2rw-live";
    region.setAttribute("role", "status");
    region.style.cssText = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)";
    explore.append(region);
    return region;
  };

  const captionOf = (explore) => explore.querySelector("figcaption, .l2rw-caption");

  const announce = (explore) => {
    const caption = captionOf(explore)?.textContent;
    if (!caption || explore.l2rwCaption === caption) return;
    const isFirst = explore.l2rwCaption === undefined;
    explore.l2rwCaption = caption;
    explore.l2rwLive ??= liveRegion(explore);
    clearTimeout(explore.l2rwTimer);
    if (isFirst) return;
    explore.l2rwTimer = setTimeout(() => (explore.l2rwLive.textContent = caption), ANNOUNCE_AFTER_MS);
  };

  // --- the place in the address --------------------------------------------------------------------------------------

  const handlesOf = (explore) => [...explore.querySelectorAll(".l2rw-control [role=slider]")];
  const positionOf = (handle) => Math.round(Number(handle.getAttribute("aria-valuenow")));
  const positionsOf = (explore) => handlesOf(explore).map(positionOf).join(",");

  /** Positions in a text such as "2,0", one for each slider and within its range; null if it is anything else. */
  const parsePositions = (text, handles) => {
    const parts = text.split(",");
    const fits = (part, k) => /^\d+$/.test(part) && Number(part) <= Number(handles[k].getAttribute("aria-valuemax"));
    return parts.length === handles.length && parts.every(fits) ? parts.map(Number) : null;
  };

  /** Whether the figure and every slider's words stand: ipywidgets builds them one after the other. */
  const isDrawn = (explore) => {
    const controls = explore.querySelectorAll(".l2rw-control").length;
    const values = explore.querySelectorAll(".l2rw-control .l2rw-value").length;
    return controls > 0 && values === controls && handlesOf(explore).length === controls && captionOf(explore) !== null;
  };

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  /** Two frames of the page, in which ipywidgets tells a figure that is drawn how large it is; not for ever. */
  const shown = () => {
    const frames = new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return Promise.race([frames, pause(500)]);
  };

  const drawn = async (explore) => {
    do await pause(REDRAW_MS);
    while (explore.isConnected && !isDrawn(explore));
    await shown();
    await pause(REDRAW_MS);
  };

  /** Move the sliders one after the other: a figure that changes while it is being built would end in an error. */
  const restore = async (explore, text) => {
    const positions = parsePositions(text, handlesOf(explore));
    if (!positions) return;
    explore.l2rwMoving = true;
    await drawn(explore);
    for (const [k, position] of positions.entries()) {
      const handle = handlesOf(explore)[k];
      if (positionOf(handle) === position) continue;
      handle.closest(".noUi-target").noUiSlider.set(position);
      await drawn(explore);
    }
    explore.l2rwPositions = positionsOf(explore);
    explore.l2rwMoving = false;
  };

  /** Names are unique on a page; should two agree, the later one has none, rather than both the same part. */
  const nameOf = (explore) => {
    const name = explore.className.match(NAME)?.[1];
    const isTaken = [...document.querySelectorAll(".l2rw-explore")].some((other) => other.l2rwName === name);
    return isTaken ? undefined : name;
  };

  const place = (explore) => {
    const address = globalThis.l2rwAddress;
    if (explore.l2rwName || !address || !isDrawn(explore)) return;
    const name = nameOf(explore);
    if (!name) return;
    explore.l2rwName = name;
    explore.l2rwPositions = positionsOf(explore);
    const text = address.read(name);
    if (text !== null) restore(explore, text);
    address.follow(name, (value) => restore(explore, value));
    explore.append(address.copyButton(explore, name, () => positionsOf(explore)));
  };

  const keep = (explore) => {
    const positions = positionsOf(explore);
    if (!explore.l2rwName || explore.l2rwMoving || positions === explore.l2rwPositions) return;
    explore.l2rwPositions = positions;
    globalThis.l2rwAddress.write(explore.l2rwName, positions);
  };

  const describe = () => {
    for (const explore of document.querySelectorAll(".l2rw-explore")) {
      explore.querySelectorAll(".l2rw-control").forEach(describeSlider);
      place(explore);
      keep(explore);
      announce(explore);
    }
  };

  new MutationObserver(describe).observe(document.documentElement, { childList: true, subtree: true });
  describe();
})();
