// Widgets typeset their labels through the queue of MathJax 2; the theme loads MathJax 3, which has none.
// Deferred scripts, MathJax among them, have run by now, and the widgets are drawn later, on "load".
document.addEventListener("DOMContentLoaded", () => {
  if (!window.MathJax) return;
  const typeset = (element) => window.MathJax.typesetPromise?.([element]);
  window.MathJax.Hub = {
    Queue: ([, , element]) => window.MathJax.startup?.promise?.then(() => typeset(element)),
  };
});
