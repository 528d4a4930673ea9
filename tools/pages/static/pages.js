// The theme lets the keyboard reach code that scrolls. It looks for such code when a page opens and when its window
// changes; what is folded away then has no width yet, so it has to look again when a reader unfolds something.
{
  const lookAgain = () => window.dispatchEvent(new Event("resize"));
  document.addEventListener("toggle", lookAgain, true);
  document.addEventListener("click", event => {
    if (event.target.closest(".toggle > .admonition-title")) lookAgain();
  });

  // It does so a third of a second late, and forgets tables and figures, which scroll inside themselves on a narrow page.
  const scrolls = element => element.scrollWidth > element.clientWidth;
  const reachable = () => {
    const found = [...document.querySelectorAll(".bd-article :is(table, figure.l2rw-figure, pre, .cell_output > .output)")]
      .map(element => [element, scrolls(element)]); // all are measured before one is changed: one layout in place of many
    for (const [element, sideways] of found) {
      if (sideways) element.tabIndex = 0;
      else if (element.matches("table, figure")) element.removeAttribute("tabindex");
    }
  };
  addEventListener("resize", reachable);
  addEventListener("load", reachable);
}

// What scrolls sideways says on which sides it goes on; the style sheet lets it fade there.
{
  const wide = ".bd-article :is(table, figure.l2rw-figure, pre, div.math, .cell_output, .output.text_html, .table-wrapper)";
  const sides = element => {
    const beyond = element.scrollWidth - element.clientWidth;
    if (beyond <= 1 || getComputedStyle(element).overflowX === "visible") return "";
    return [element.scrollLeft > 1 && "left", element.scrollLeft < beyond - 1 && "right"].filter(Boolean).join(" ");
  };
  const say = elements => {
    for (const [element, more] of elements.map(element => [element, sides(element)])) {
      if (more) element.dataset.more = more;
      else delete element.dataset.more;
    }
  };
  const all = () => say([...document.querySelectorAll(wide)]);
  addEventListener("resize", all);
  addEventListener("load", all);
  document.addEventListener("toggle", all, true);
  document.addEventListener("scroll", event => event.target.matches?.(wide) && say([event.target]), true);
}

// A note on a number opens below its row, or above it where there is more room, so that the row stays in sight.
document.addEventListener(
  "beforetoggle",
  event => {
    const note = event.target;
    if (event.newState !== "open" || !note.matches?.(".l2rw-record")) return;
    const number = document.querySelector(`[popovertarget="${note.id}"]`);
    const row = (number.closest("tr") ?? number).getBoundingClientRect();
    const [above, below] = [row.top, innerHeight - row.bottom];
    const widest = Math.min(640, 0.92 * innerWidth);
    const left = Math.max(8, Math.min(number.getBoundingClientRect().left, innerWidth - widest - 8));
    note.style.left = `${left + scrollX}px`;
    note.style.maxHeight = `${Math.max(above, below) - 16}px`;
    note.style.top = below >= above ? `${row.bottom + scrollY + 8}px` : "auto";
    note.style.bottom = below >= above ? "auto" : `${innerHeight - row.top - scrollY + 8}px`;
  },
  true,
);

// What the symbols of a formula mean, beside it: rows of the page's box, for a pointer that rests on the formula or a
// finger that taps it. The keyboard and screen readers have the box itself.
document.addEventListener("DOMContentLoaded", () => {
  const box = document.querySelector(".l2rw-symbols");
  if (!box) return;
  const hint = document.createElement("div");
  hint.className = "l2rw-hint";
  hint.setAttribute("aria-hidden", "true");
  hint.hidden = true;
  document.body.append(hint);
  let timer = 0;
  let shown = null;

  const explain = formula => {
    const rows = formula.dataset.symbols.split(" ").map(row => box.querySelector(`[data-symbol="${row}"]`));
    const table = document.createElement("table");
    table.append(...rows.filter(Boolean).map(row => row.cloneNode(true)));
    hint.replaceChildren(table);
    hint.hidden = false;
    shown = formula;
    const place = formula.getBoundingClientRect();
    const { width, height } = hint.getBoundingClientRect();
    const below = place.bottom + height + 8 < innerHeight || place.top < height + 8;
    hint.style.left = `${Math.max(8, Math.min(place.left, innerWidth - width - 8)) + scrollX}px`;
    hint.style.top = `${(below ? place.bottom + 4 : place.top - height - 4) + scrollY}px`;
  };
  const hide = () => {
    clearTimeout(timer);
    hint.hidden = true;
    shown = null;
  };
  const formulaAt = event => event.target.closest?.("[data-symbols]");

  // A moment's rest before it opens, and before it closes: enough to move the pointer into it.
  document.addEventListener("pointerover", event => {
    if (event.pointerType === "touch") return;
    const formula = formulaAt(event);
    clearTimeout(timer);
    if (formula && formula !== shown) timer = setTimeout(explain, 250, formula);
    else if (!formula && !hint.contains(event.target)) timer = setTimeout(hide, 250);
  });
  document.addEventListener("click", event => {
    const formula = formulaAt(event);
    if (formula && !event.target.closest("a, button, summary")) explain(formula);
    else if (!hint.contains(event.target)) hide();
  });
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") hide();
  });
});

// The contents of a page open over it on a narrow window; the theme leaves them there when a reader has chosen.
document.addEventListener("click", event => {
  const covering = event.target.closest("dialog[open]");
  if (covering && event.target.closest("a[href^='#']")) covering.close();
});
