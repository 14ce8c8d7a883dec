// What the theme leaves out for people who use the keyboard or a screen reader.
function complete() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  document.querySelectorAll(".md-code__nav").forEach((each, index) => {
    each.setAttribute("aria-label", "Code block " + (index + 1));
  });
  for (const each of document.querySelectorAll("pre > code, .md-typeset__scrollwrap"))
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
}
complete();
addEventListener("resize", complete);
new MutationObserver(complete).observe(document.querySelector(".md-content"), { childList: true, subtree: true });
