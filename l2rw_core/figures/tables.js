// Column headings of the book's tables sort their rows, within each group: first descending, then ascending.
// Without this script the tables read the same, in the order in which they were written.
// On a page it runs once for all of them; in a notebook it comes with each, and finds the others done.
{
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", sortable);
  else sortable();

  function sortable() {
    for (const table of document.querySelectorAll("table.l2rw-table:not([data-sortable])")) {
      table.dataset.sortable = "";
      headings(table);
    }
  }

  function headings(table) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const descending = heading.getAttribute("aria-sort") !== "descending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
        for (const body of table.tBodies) {
          const rows = [...body.rows].filter((row) => !row.matches(".l2rw-group"));
          rows.sort((a, b) => compare(a.cells[heading.cellIndex], b.cells[heading.cellIndex], descending));
          body.append(...rows);
        }
      });
    }
  }

  /** Numbers by value, then words by alphabet; cells without a number stay last either way. */
  function compare(a, b, descending) {
    const [x, y] = [a, b].map((cell) => (cell?.dataset.value === undefined ? NaN : Number(cell.dataset.value)));
    const sign = descending ? -1 : 1;
    if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
    if (Number.isNaN(x) && Number.isNaN(y)) return -sign * a.textContent.localeCompare(b.textContent);
    return Number.isNaN(x) ? 1 : -1;
  }
}
