// One player: keys go to the server, frames come back.
import { Screen, CodeMap, median } from "./view.js";

const element = (id) => document.getElementById(id);
const HEADER_BYTES = 16;
const NOTHING = 255;           // the button of a recorded frame
const SIGN_OF_LIFE_MS = 10_000;
const ASLEEP_MS = 300_000;     // a page that is hidden for so long gives up its seat
const FULL = 1013, TURNED_AWAY = 1008;
const KEYS = {
  ArrowLeft: "left", KeyA: "left", ArrowRight: "right", KeyD: "right", ArrowUp: "up", KeyW: "up",
  ArrowDown: "down", KeyS: "down", Space: "fire",
};

let socket = null, welcome = null, retry = 0, retryTimer = 0, sleepTimer = 0;
let predicted, real, codeMap;
let paused = true, seen = 0, presses = 0, pressed = "";
const held = new Map();        // what is held (a key, a touch) → {directions} or {button}
const waiting = new Map();     // number of a press → when it was sent
const arrivals = [], delays = [], costs = [];

// ---- connection ---------------------------------------------------------------------------------

function connect() {
  clearTimeout(retryTimer);
  veil("Connecting…");
  socket = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/play");
  socket.binaryType = "arraybuffer";
  socket.onopen = () => send({ type: "join" });
  socket.onmessage = (event) => {
    if (typeof event.data === "string") hear(JSON.parse(event.data));
    else show(event.data);
  };
  socket.onclose = (event) => lost(event);
}

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function lost(event) {
  held.clear();
  for (const button of document.querySelectorAll(".down")) button.classList.remove("down");
  const seconds = Math.min(10, 2 ** retry++);
  if (event.code === FULL) veil("All seats are taken. This page asks again by itself.", true);
  else if (event.code === TURNED_AWAY) { veil("The server ended this game: " + event.reason + ".", true); return; }
  else veil("The connection is lost. Is ghostpad play still running? This page tries again by itself.", true);
  retryTimer = setTimeout(connect, 1000 * (event.code === FULL ? 5 : seconds));
}

function hear(message) {
  if (message.type === "welcome") begin(message);
  else if (message.type === "real") showReal(message);
  else if (message.type === "refused") veil("This frame cannot be played from: " + message.reason + ".");
}

// The real game's colours come before the first picture that needs them.
function showReal(message) {
  const canvas = document.querySelector("#real canvas");
  if (!real || canvas.width !== message.width || canvas.height !== message.height)
    real = new Screen(canvas, { ...message, channels: 1 });
  else real.setColors(message.colors);
}

function begin(message) {
  welcome = message;
  retry = 0;
  seen = presses = 0;
  pressed = "";
  waiting.clear();
  predicted = new Screen(document.querySelector("#predicted canvas"), message);
  codeMap = new CodeMap(element("codes"), message);
  document.querySelector("main").classList.remove("waiting");
  element("real").hidden = !message.beside;
  element("screens").style.setProperty("--aspect", message.width / message.height);
  element("num-codes").textContent = message.grid.join(" × ");
  const tied = message.labels ? ", tied to the game's controls by " + message.labels + " labelled steps" : "";
  element("about").textContent = "World " + message.world + " (" + message.hash + "): " + message.buttons.length +
    " buttons" + tied + ". Computed with " + message.engine + ".";
  fillSettings();
  buildButtons();
  buildPad();
  explainKeys();
  setPaused(true);
  veil(coarse() ? "Tap to play" : "Press a key to play");
}

// ---- frames -------------------------------------------------------------------------------------

function show(buffer) {
  const view = new DataView(buffer);
  const now = performance.now();
  seen = view.getUint32(0, true);
  send({ type: "seen", frame: seen });
  const heard = view.getUint32(4, true);
  const cells = welcome.grid[0] * welcome.grid[1];
  const codes = new Uint16Array(buffer, HEADER_BYTES, cells);
  const start = HEADER_BYTES + 2 * cells;
  predicted.draw(new Uint8Array(buffer, start, predicted.bytes));
  const rest = start + predicted.bytes;
  const beside = buffer.byteLength > rest;
  element("real").hidden = !beside;
  if (beside) real.draw(new Uint8Array(buffer, rest, real.bytes));
  const button = view.getUint8(12);
  if (button !== NOTHING) codeMap.draw(codes);
  light(button);
  for (const [number, sent] of waiting) {
    if (number > heard) break;
    if (!paused) remember(delays, now - sent, 30);
    waiting.delete(number);
  }
  remember(costs, view.getFloat32(8, true), 30);
  remember(arrivals, now, 120);
}

function remember(list, value, most) {
  list.push(value);
  if (list.length > most) list.shift();
}

function showNumbers() {
  const now = performance.now();
  const recent = arrivals.filter((at) => at > now - 1000).length;
  element("rate").textContent = recent;
  element("cost").textContent = costs.length ? median(costs).toFixed(1) + " ms" : "–";
  element("delay").textContent = delays.length ? Math.round(median(delays)) + " ms" : "–";
  element("count").textContent = seen || "–";
}

function light(button) {
  [...element("buttons").children].forEach((chip, place) => chip.classList.toggle("down", welcome.buttons[place] === button));
}

// ---- what is held -------------------------------------------------------------------------------

function hold(source, what) {
  if (held.has(source)) return;
  held.set(source, what);
  wake();
  press();
}

function release(source) {
  if (held.delete(source)) press();
}

function releaseAll() {
  if (held.size) { held.clear(); press(); }
}

// The control that says most of what is held: of those that ask for nothing more, the one with the newest key.
function chosen() {
  const sources = [...held.values()].reverse();
  const direct = sources.find((what) => "button" in what || "control" in what);
  if (direct) return direct;
  const directions = [...new Set(sources.map((what) => what.direction))];
  let best = { control: welcome.rest }, most = 0;
  welcome.controls.forEach(({ holds }, control) => {
    if (!holds.length || !holds.every((direction) => directions.includes(direction))) return;
    const newest = directions.length - Math.min(...holds.map((direction) => directions.indexOf(direction)));
    const score = 10 * holds.length + newest;
    if (score > most) { most = score; best = { control }; }
  });
  return best;
}

function press() {
  if (!welcome) return;
  const what = chosen();
  const name = JSON.stringify(what);
  if (name === pressed) return;
  pressed = name;
  presses += 1;
  waiting.set(presses, performance.now());
  if (waiting.size > 100) waiting.clear();
  send({ type: "press", count: presses, ...what });
}

// Up fires where there is nothing to go up to.
function directionOf(code) {
  const direction = KEYS[code];
  const known = new Set(welcome.controls.flatMap(({ holds }) => holds));
  if (direction === "up" && !known.has("up")) return "fire";
  return direction;
}

function keydown(event) {
  if (!welcome || event.ctrlKey || event.metaKey || event.altKey || isSetting(event.target, event.code)) return;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  if (KEYS[event.code]) {
    event.preventDefault();
    if (!event.repeat) hold(event.code, { direction: directionOf(event.code) });
  } else if (digit && welcome.buttons.includes(Number(digit[1]))) {
    if (!event.repeat) hold(event.code, { button: Number(digit[1]) });
  } else if (!event.repeat) {
    if (event.code === "KeyP") setPaused(!paused);
    else if (event.code === "KeyN") step();
    else if (event.code === "KeyR") reset();
    else if (!element("veil").hidden && (event.key.length === 1 || event.key === "Enter")) wake();
  }
}

// Sliders and lists keep the keys that they understand themselves.
function isSetting(target, code) {
  return target instanceof Element && target.matches("input, select") ||
    (target instanceof HTMLButtonElement && (code === "Space" || code === "Enter"));
}

function holdWhile(button, what) {
  const source = {};
  const down = (event) => {
    event.preventDefault();
    button.setPointerCapture(event.pointerId);
    button.classList.add("down");
    hold(source, what);
  };
  const up = () => { button.classList.remove("down"); release(source); };
  button.addEventListener("pointerdown", down);
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(end, up);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("keydown", (event) => { if (event.code === "Space" && !event.repeat) hold(source, what); });
  button.addEventListener("keyup", (event) => { if (event.code === "Space") release(source); });
}

// ---- settings -----------------------------------------------------------------------------------

function setPaused(value) {
  paused = value;
  delays.length = 0;
  element("pause").textContent = paused ? "Play" : "Pause";
  send({ type: "pause", paused });
  if (!paused) veil("");
}

function wake() {
  if (paused && welcome && socket.readyState === WebSocket.OPEN) setPaused(false);
}

function step() {
  if (!paused) setPaused(true);
  veil("");
  send({ type: "step" });
}

function reset() {
  veil("");
  send({ type: "reset", episode: element("episode").selectedIndex, frame: Number(element("frame").value) });
}

function fillSettings() {
  const episode = element("episode");
  episode.replaceChildren(...welcome.episodes.map(({ name }) => new Option(name)));
  episode.hidden = welcome.episodes.length < 2;
  chooseEpisode();
  element("temperature").max = welcome.hottest;
  const speeds = [...new Set([15, 30, 60, welcome.fps])].filter((fps) => fps <= welcome.fastest).sort((a, b) => a - b);
  element("speed").replaceChildren(...speeds.map((fps) => new Option(fps + " frames/s", fps)));
  element("speed").value = welcome.fps;
  setTemperature();
}

function chooseEpisode() {
  const slider = element("frame");
  slider.max = welcome.episodes[element("episode").selectedIndex].frames - 1;
  slider.value = 0;
  element("frame-number").textContent = "0";
}

function setTemperature() {
  const value = Number(element("temperature").value);
  element("heat").textContent = value ? value.toFixed(2) : "off";
  send({ type: "temperature", value });
}

// ---- parts of the page --------------------------------------------------------------------------

function veil(text, again = false) {
  element("veil").hidden = !text;
  element("notice").textContent = text;
  element("again").hidden = !again;
}

function buildButtons() {
  element("buttons").replaceChildren(...welcome.buttons.map((button) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.textContent = button;
    chip.title = "hold this button of the world by itself";
    if (welcome.named) {
      const small = document.createElement("small");
      const names = welcome.controls.map(({ name }) => name);
      small.textContent = names.filter((_, control) => welcome.button_for_control[control] === button).join(", ") || "no key";
      chip.append(small);
      chip.title += ": " + names.map((name, control) =>
        name + " " + Math.round(100 * welcome.control_given_button[button][control]) + " %").join(", ");
    }
    holdWhile(chip, { button });
    return chip;
  }));
}

function buildPad() {
  const signs = { left: "◀", right: "▶", up: "▲", down: "▼", fire: "●" };
  const order = ["left", "fire", "up", "down", "right"];
  const directions = order.filter((one) => welcome.controls.some(({ holds }) => holds.includes(one)));
  const keys = directions.length
    ? directions.map((direction) => [signs[direction] + (direction === "fire" ? " fire" : ""), { direction }, direction])
    : welcome.controls.map(({ name }, control) => [name, { control }, name]);
  element("pad").replaceChildren(...keys.map(([text, what, name]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", name);
    holdWhile(button, what);
    return button;
  }));
}

function explainKeys() {
  const known = new Set(welcome.controls.flatMap(({ holds }) => holds));
  const chance = welcome.controls.some(({ holds, chance }) => chance && holds.join() === "fire");
  const rows = [
    [["←", "→"], "move", known.has("left")], [["↑", "↓"], "up and down", known.has("up")],
    [["space"], chance ? "fire, which this world leaves to chance" : "fire", known.has("fire")],
    [welcome.buttons.map(String), "hold one button of the world by itself", true],
    [["P"], "pause", true], [["N"], "one step", true], [["R"], "start over", true],
  ];
  const legend = element("legend");
  legend.replaceChildren("Keys: ");
  rows.filter(([, , shown]) => shown).forEach(([keys, does], index) => {
    if (index) legend.append(" · ");
    for (const key of keys) {
      const kbd = document.createElement("kbd");
      kbd.textContent = key;
      legend.append(kbd, " ");
    }
    legend.append(does);
  });
  legend.append(". On a touch screen, the keys under the picture.");
}

const coarse = () => matchMedia("(pointer: coarse)").matches;

document.addEventListener("keydown", keydown);
document.addEventListener("keyup", (event) => release(event.code));
window.addEventListener("blur", releaseAll);
document.addEventListener("visibilitychange", () => {
  clearTimeout(sleepTimer);
  if (!document.hidden) {
    if (socket.readyState === WebSocket.CLOSED) connect();
    return;
  }
  sleepTimer = setTimeout(() => { socket.onclose = null; clearTimeout(retryTimer); socket.close(); }, ASLEEP_MS);
  releaseAll();
  if (welcome && !paused) { setPaused(true); veil("Paused. Press a key, or tap, to go on."); }
});
element("veil").addEventListener("click", (event) => { if (event.target.id !== "again") wake(); });
element("again").addEventListener("click", () => { retry = 0; connect(); });
element("pause").addEventListener("click", () => setPaused(!paused));
element("step").addEventListener("click", step);
element("reset").addEventListener("click", reset);
element("episode").addEventListener("change", () => { chooseEpisode(); reset(); });
element("frame").addEventListener("input", () => { element("frame-number").textContent = element("frame").value; });
element("frame").addEventListener("change", reset);
element("temperature").addEventListener("input", setTemperature);
element("speed").addEventListener("change", () => send({ type: "speed", fps: Number(element("speed").value) }));
// The arrow keys belong to the game again once a setting has been made with the mouse.
for (const setting of document.querySelectorAll("#bar input, #bar select, #bar button"))
  setting.addEventListener(setting.tagName === "SELECT" ? "change" : "pointerup", () => setting.blur());
setInterval(() => send({ type: "seen", frame: seen }), SIGN_OF_LIFE_MS);
setInterval(showNumbers, 250);
connect();
