"use strict";
// The keyboard reaches what scrolls sideways.
function markScrolling() {
  for (const each of document.querySelectorAll(".scroll, .film")) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
    else each.removeAttribute("tabindex");
  }
}
addEventListener("resize", markScrolling);
markScrolling();

// The film can be paused, and waits to be started where motion is not wanted.
(function () {
  const film = document.getElementById("film");
  if (!film) return;
  const image = film.querySelector("img"), source = film.querySelector("source"), button = film.querySelector("button");
  const moving = image.src, still = source.srcset;
  let playing = !matchMedia(source.media).matches;
  source.remove();
  function show() {
    image.src = playing ? moving : still;
    button.textContent = playing ? "Pause" : "Play";
  }
  button.addEventListener("click", () => { playing = !playing; show(); });
  button.hidden = false;
  show();
})();

// The interactive view: choose a transition, see frame, next frame, prediction, error and codes.
(function () {
  const store = document.getElementById("transitions");
  const viewer = document.getElementById("viewer");
  if (!store || !viewer) return;
  const data = JSON.parse(store.textContent);
  const shown = data.items;
  if (!shown.length) return;
  viewer.hidden = false;
  const part = (name) => viewer.querySelector("[data-part=" + name + "]");
  const slider = part("slider");
  const filter = part("filter");
  const codes = part("codes");
  slider.max = shown.length - 1;

  const events = [...new Set(shown.flatMap((item) => item.events))].sort();
  for (const event of events) filter.add(new Option(event, event));
  if (!events.length) filter.hidden = true;

  function paintCodes(item) {
    codes.replaceChildren();
    codes.style.gridTemplateColumns = "repeat(" + item.codes[0].length + ", 1fr)";
    codes.classList.toggle("dense", item.codes[0].length > 8);
    item.codes.forEach((row, y) => row.forEach((code, x) => {
      const cell = document.createElement("span");
      cell.textContent = code;
      cell.title = "row " + y + ", column " + x + ": code " + code;
      cell.className = data.most_frequent[y][x] === code ? "usual" : "series-" + (1 + code % 4);
      codes.append(cell);
    }));
  }

  function show(index) {
    const item = shown[index];
    slider.value = index;
    for (const name of ["frame", "next", "prediction", "error"]) part(name).src = item[name];
    const events = item.events.length ? " · " + item.events.join(", ") : "";
    part("where").textContent = item.episode + ", frame " + item.index + events;
    part("score").textContent = item.score;
    paintCodes(item);
  }

  function step(by) {
    for (let index = Number(slider.value) + by; index >= 0 && index < shown.length; index += by) {
      if (!filter.value || shown[index].events.includes(filter.value)) { show(index); return; }
    }
  }

  slider.addEventListener("input", () => show(Number(slider.value)));
  part("before").addEventListener("click", () => step(-1));
  part("after").addEventListener("click", () => step(1));
  filter.addEventListener("change", () => {
    const first = shown.findIndex((item) => !filter.value || item.events.includes(filter.value));
    if (first >= 0) show(first);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target === slider || event.target === filter) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  show(0);
})();
