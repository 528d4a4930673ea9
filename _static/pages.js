// The theme lets the keyboard reach code that scrolls. It looks for such code when a page opens and when its window
// changes; what is folded away then has no width yet, so it has to look again when a reader unfolds something.
{
  const lookAgain = () => window.dispatchEvent(new Event("resize"));
  document.addEventListener("toggle", lookAgain, true);
  document.addEventListener("click", event => {
    if (event.target.closest(".toggle > .admonition-title")) lookAgain();
  });
}
