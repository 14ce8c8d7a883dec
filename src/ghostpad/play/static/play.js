// One player: keys go to the server, frames come back.
import { Controls, coarse, explain, isSetting, veil } from "./controls.js";
import { Screen, CodeMap, median } from "./view.js";

const element = (id) => document.getElementById(id);
const HEADER_BYTES = 16;
const NOTHING = 255;           // the button of a recorded frame
const SIGN_OF_LIFE_MS = 10_000;
const ASLEEP_MS = 300_000;     // a page that is hidden for so long gives up its seat
const MOST_THUMBNAILS = 24;
const FULL = 1013, TURNED_AWAY = 1008;

let socket = null, welcome = null, retry = 0, retryTimer = 0, sleepTimer = 0;
let predicted, real, codeMap, controls = null;
let paused = true, seen = 0, presses = 0, pressed = "";
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
  controls?.held.clear();
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
  controls = new Controls(message, press, wake);
  explain(element("explanation"), message.explanation);
  fillSettings();
  buildButtons();
  controls.buildPad(element("pad"));
  controls.explainKeys(element("legend"));
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
  element("real").hidden = element("compare").hidden = !beside;
  if (beside) real.draw(new Uint8Array(buffer, rest, real.bytes));
  compare(beside);
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

// The emulator's picture over that of the world, as opaque as the slider says.
function compare(beside) {
  const overlay = element("overlay"), share = Number(element("share").value), canvas = document.querySelector("#real canvas");
  overlay.hidden = !beside || !share;
  if (overlay.hidden) return;
  if (overlay.width !== canvas.width) overlay.width = canvas.width;
  if (overlay.height !== canvas.height) overlay.height = canvas.height;
  overlay.style.opacity = share / 100;
  overlay.getContext("2d").drawImage(canvas, 0, 0);
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

function press() {
  if (!welcome) return;
  const what = controls.chosen();
  const name = JSON.stringify(what);
  if (name === pressed) return;
  pressed = name;
  presses += 1;
  waiting.set(presses, performance.now());
  if (waiting.size > 100) waiting.clear();
  send({ type: "press", count: presses, ...what });
}

function keydown(event) {
  if (!welcome || event.ctrlKey || event.metaKey || event.altKey || isSetting(event.target, event.code)) return;
  if (controls.keydown(event) || event.repeat) return;
  if (event.code === "KeyP") setPaused(!paused);
  else if (event.code === "KeyN") step();
  else if (event.code === "KeyR") reset();
  else if (!element("veil").hidden && (event.key.length === 1 || event.key === "Enter")) wake();
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
  const episode = element("episode").selectedIndex, { frames } = welcome.episodes[episode];
  element("frame").max = frames - 1;
  // Where every frame has its thumbnail, and there is one recording, there is nothing else to choose.
  element("recorded").hidden = welcome.episodes.length < 2 && frames <= MOST_THUMBNAILS;
  const num = Math.min(frames, MOST_THUMBNAILS);
  const shown = Array.from({ length: num }, (_, index) => Math.floor(index * frames / num));
  element("starts").replaceChildren(...shown.map((frame) => {
    const button = document.createElement("button"), image = document.createElement("img");
    button.type = "button";
    button.value = frame;
    Object.assign(image, { loading: "lazy", alt: "frame " + frame, src: "starts/" + episode + "/" + frame + ".png" });
    button.append(image);
    button.addEventListener("click", () => { chooseFrame(frame); reset(); button.blur(); });
    return button;
  }));
  chooseFrame(0);
}

function chooseFrame(frame) {
  element("frame").value = frame;
  element("frame-number").textContent = frame;
  for (const button of element("starts").children) button.classList.toggle("chosen", button.value === String(frame));
}

function setTemperature() {
  const value = Number(element("temperature").value);
  element("heat").textContent = value ? value.toFixed(2) : "off";
  send({ type: "temperature", value });
}

// ---- parts of the page --------------------------------------------------------------------------

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
    controls.holdWhile(chip, { button });
    return chip;
  }));
}

document.addEventListener("keydown", keydown);
document.addEventListener("keyup", (event) => controls?.release(event.code));
window.addEventListener("blur", () => controls?.releaseAll());
document.addEventListener("visibilitychange", () => {
  clearTimeout(sleepTimer);
  if (!document.hidden) {
    if (socket.readyState === WebSocket.CLOSED) connect();
    return;
  }
  sleepTimer = setTimeout(() => { socket.onclose = null; clearTimeout(retryTimer); socket.close(); }, ASLEEP_MS);
  controls?.releaseAll();
  if (welcome && !paused) { setPaused(true); veil("Paused. Press a key, or tap, to go on."); }
});
element("veil").addEventListener("click", (event) => { if (event.target.id !== "again") wake(); });
element("again").addEventListener("click", () => { retry = 0; connect(); });
element("pause").addEventListener("click", () => setPaused(!paused));
element("step").addEventListener("click", step);
element("reset").addEventListener("click", reset);
element("episode").addEventListener("change", () => { chooseEpisode(); reset(); });
element("frame").addEventListener("input", () => chooseFrame(Number(element("frame").value)));
element("frame").addEventListener("change", reset);
element("temperature").addEventListener("input", setTemperature);
element("share").addEventListener("input", () => {
  element("share-number").textContent = Number(element("share").value) ? element("share").value + " %" : "off";
  compare(!element("real").hidden);
});
element("speed").addEventListener("change", () => send({ type: "speed", fps: Number(element("speed").value) }));
// The arrow keys belong to the game again once a setting has been made with the mouse.
for (const setting of document.querySelectorAll("#bar input, #bar select, #bar button, #from input, #from select"))
  setting.addEventListener(setting.tagName === "SELECT" ? "change" : "pointerup", () => setting.blur());
setInterval(() => send({ type: "seen", frame: seen }), SIGN_OF_LIFE_MS);
setInterval(showNumbers, 250);
connect();
