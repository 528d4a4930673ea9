// Keeps the positions of a page's widgets in its address, for pages without a kernel: `?ratio-step=3,4&playground=...`.
//
// The query serves, not the fragment: an anchor (`#section`) then works as ever, in the address and when a heading is
// clicked, and the positions outlive the click. Each widget owns the part of its name. Nothing is asked of a server.
// A notebook does not load this script: there the address belongs to the notebook.
(() => {
  const WRITE_AFTER_MS = 400; // browsers refuse an address that changes with every step of a drag
  const known = new Map(); // name -> value last read or written
  const waiting = new Map(); // name -> timer

  /** The query with the value of this name replaced or added; everything else stays to the letter. */
  const withPart = (query, name, value) => {
    const parts = query.replace(/^\?/, "").split("&");
    const others = parts.filter((part) => part && part.split("=", 1)[0] !== name);
    return `?${[...others, `${name}=${value}`].join("&")}`;
  };

  /** What the query says under this name, or null. */
  const partOf = (query, name) => new URLSearchParams(query).get(name);

  const read = (name) => {
    const value = partOf(location.search, name);
    known.set(name, value);
    return value;
  };

  /** Keep a value at once. */
  const writeNow = (name, value) => {
    clearTimeout(waiting.get(name));
    waiting.delete(name);
    known.set(name, value);
    try {
      history.replaceState(history.state, "", withPart(location.search, name, value) + location.hash);
    } catch {
      // A frame may forbid it; the positions then live as long as the page.
    }
  };

  /** Keep a value once the reader's hand rests. */
  const write = (name, value) => {
    clearTimeout(waiting.get(name));
    waiting.set(name, setTimeout(() => writeNow(name, value), WRITE_AFTER_MS));
  };

  /** Call `listener` with the value when the reader goes back or forward to an address with another one. */
  const follow = (name, listener) => {
    const onMove = () => {
      if (waiting.has(name) || partOf(location.search, name) === known.get(name)) return;
      const value = read(name);
      if (value !== null) listener(value);
    };
    window.addEventListener("popstate", onMove);
    return () => window.removeEventListener("popstate", onMove);
  };

  /** The address of this page that shows `element` at this value, the other widgets where they are. */
  const linkTo = (element, name, value) => {
    const link = new URL(location.href);
    link.search = withPart(location.search, name, value);
    const anchor = element.closest("[id]");
    if (anchor) link.hash = anchor.id;
    return link.href;
  };

  const copy = async (link) => {
    try {
      await navigator.clipboard.writeText(link);
      return "Link copied.";
    } catch {
      return "This page may not copy; the address of the page is the link.";
    }
  };

  /** A button that copies the link to where the widget stands; `value()` gives its position. */
  const copyButton = (element, name, value) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy link to this position";
    const said = document.createElement("span");
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      writeNow(name, value());
      said.textContent = ""; // so that a second click is spoken too
      said.textContent = await copy(linkTo(element, name, value()));
    });
    const holder = document.createElement("div");
    holder.className = "l2rw-copy";
    holder.append(button, said);
    return holder;
  };

  globalThis.l2rwAddress = { partOf, withPart, read, write, writeNow, follow, copyButton };
})();
