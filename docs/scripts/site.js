// What the theme leaves out for people who use the keyboard or a screen reader.
function complete() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const each of document.querySelectorAll(".md-code__nav")) each.setAttribute("role", "group");
  for (const each of document.querySelectorAll("pre > code, .md-typeset__scrollwrap"))
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
}
complete();
addEventListener("resize", complete);
new MutationObserver(complete).observe(document.querySelector(".md-content"), { childList: true, subtree: true });
