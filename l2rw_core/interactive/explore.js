// Gives the sliders of explore() what ipywidgets leaves out: a name, a value in words, and a voice for the caption.
// For pages without a kernel; the widget works without it, but a screen reader would hear "slider, 2".
(() => {
  const ANNOUNCE_AFTER_MS = 400; // so that a held arrow key is followed by one sentence, not by one for each step

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

  const announce = (explore) => {
    const caption = explore.querySelector("figcaption, .l2rw-caption")?.textContent;
    if (!caption || explore.l2rwCaption === caption) return;
    const isFirst = explore.l2rwCaption === undefined;
    explore.l2rwCaption = caption;
    explore.l2rwLive ??= liveRegion(explore);
    clearTimeout(explore.l2rwTimer);
    if (isFirst) return;
    explore.l2rwTimer = setTimeout(() => (explore.l2rwLive.textContent = caption), ANNOUNCE_AFTER_MS);
  };

  const describe = () => {
    for (const explore of document.querySelectorAll(".l2rw-explore")) {
      explore.querySelectorAll(".l2rw-control").forEach(describeSlider);
      announce(explore);
    }
  };

  new MutationObserver(describe).observe(document.documentElement, { childList: true, subtree: true });
  describe();
})();
