// The book's search, on the page search.html: sections whose words are those asked for, the best first, each with an
// excerpt. The entries come from search_entries.js, beside this file.
{
  const MOST_SHOWN = 40;
  const EXCERPT = 180;
  const EQUATION = /\b(?:equations?|eqs?)\b\.?\s*\(?(\d{1,2})\)?/g;

  const simplified = text => text.toLowerCase().normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
  const words = text => simplified(text).match(/[\p{L}\p{N}_]+/gu) ?? [];
  // "weights" and "weighted" are found by "weight", but "1" is not found by "12".
  const stem = word => (/^\d+$/.test(word) || word.length < 4 ? word : word.replace(/(?:ies|es|s|ing|ed)$/, ""));
  const matches = (term, word) => (/^\d+$/.test(term) ? word === term : word.startsWith(term));

  /** What was typed: numbers of equations, and the stems of the other words. */
  function asked(query) {
    const equations = [...simplified(query).matchAll(EQUATION)].map(found => Number(found[1]));
    const rest = words(simplified(query).replace(EQUATION, " "));
    return { equations, terms: rest.map(stem).filter(Boolean), together: rest.join("") };
  }

  /** An entry with what is looked at for every query. */
  function prepared(entry) {
    const title = words(entry.titles.at(-1));
    const above = words(entry.titles.slice(0, -1).join(" "));
    const text = words(entry.text);
    return { ...entry, title, above, words: text, joined: [...title, ...text].join("") };
  }

  function inWords(term, list) {
    return list.some(word => matches(term, word));
  }

  /** How well an entry answers, 0 if it does not. */
  function score(entry, { equations, terms, together }) {
    let points = 0;
    for (const number of equations) {
      if (entry.equations.includes(number)) points += 200;
      else if (entry.text.includes(`(${number})`)) points += 5;
      else return 0;
    }
    if (!terms.length) return points;
    // Two words that are one elsewhere, or the other way round: "huggingface", "Hugging Face".
    const asOne = together.length > 5 && entry.joined.includes(together);
    const titled = terms.filter(term => inWords(term, entry.title)).length;
    const all = terms.every(term => [entry.title, entry.above, entry.words].some(list => inWords(term, list)));
    if (!all && !asOne) return 0;
    points += 20 * titled / terms.length;
    if (entry.title.join("").includes(together)) points += 60 + 40 * together.length / entry.title.join("").length;
    if (asOne) points += 10;
    points += Math.min(5, entry.words.filter(word => terms.some(term => matches(term, word))).length / 2);
    if (entry.page.startsWith("chapters/")) points += 3;
    if (!entry.anchor) points += 2;
    return points;
  }

  /** Where in a text the first thing asked for stands, -1 if nowhere. */
  function firstPlace(text, { equations, terms, together }) {
    const plain = simplified(text);
    const spaced = [...together].map(letter => letter.replace(/[^\p{L}\p{N}]/gu, "\\$&")).join("\\W*");
    const places = [
      ...equations.map(number => plain.indexOf(`(${number})`)),
      together ? plain.search(new RegExp(spaced, "u")) : -1,
      ...terms.map(term => plain.search(new RegExp(`(?<![\\p{L}\\p{N}])${term}`, "u"))),
    ];
    return places.find(place => place >= 0) ?? -1;
  }

  /** The words around that place, those asked for marked. */
  function excerpt(text, query) {
    const place = Math.max(0, firstPlace(text, query));
    let start = Math.max(0, place - EXCERPT / 3);
    start = start && text.indexOf(" ", start) + 1;
    const cut = text.slice(start, start + EXCERPT);
    const shown = cut.length < text.length - start ? cut.slice(0, cut.lastIndexOf(" ")) : cut;
    const paragraph = document.createElement("p");
    paragraph.append(start ? "… " : "");
    for (const piece of shown.split(/([\p{L}\p{N}_]+)/u)) {
      const known = words(piece)[0];
      if (known && query.terms.some(term => matches(term, known))) {
        const mark = document.createElement("mark");
        mark.textContent = piece;
        paragraph.append(mark);
      } else paragraph.append(piece);
    }
    paragraph.append(shown.length < text.length - start ? " …" : "");
    return paragraph;
  }

  const named = entry => entry.titles.join(" › ");

  function item(entry, query) {
    const link = document.createElement("a");
    link.textContent = named(entry);
    link.href = `${entry.page}.html${entry.anchor ? `#${entry.anchor}` : ""}`;
    const line = document.createElement("li");
    line.append(link);
    if (entry.text) line.append(excerpt(entry.text, query));
    return line;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const results = document.getElementById("search-results");
    if (!results || typeof searchEntries === "undefined") return;
    const typed = new URLSearchParams(location.search).get("q") ?? "";
    const field = document.querySelector("article input[name=q]");
    field.value = typed;
    if (!typed.trim()) {
      field.focus();
      return;
    }
    const query = asked(typed);
    const found = searchEntries
      .map(entry => [score(prepared(entry), query), entry])
      .filter(([points]) => points > 0)
      .sort(([a], [b]) => b - a)
      // A page may have a heading twice: the better one stands for both.
      .filter(([, entry], at, all) => all.findIndex(([, other]) => named(other) === named(entry)) === at);
    results.replaceChildren(...found.slice(0, MOST_SHOWN).map(([, entry]) => item(entry, query)));
    const status = document.querySelector(".l2rw-found");
    const places = found.length === 1 ? "One place" : `${found.length} places`;
    const most = found.length > MOST_SHOWN ? `, the best ${MOST_SHOWN} of them here` : "";
    status.textContent = found.length ? `${places} for “${typed}”${most}.` : `Nothing found for “${typed}”. Fewer words may find more.`;
  });
}
