// The page of an exported world: no server, the networks run here. Parts come as base64 of gzip in PARTS.

const element = (id) => document.getElementById(id);
const about = JSON.parse(element("about-world").textContent);
let world = null, starts = null, screen = null, codeMap = null, controls = null;
let paused = true, oneStep = false, count = 0, start = 0, fps = about.fps, temperature = 0, wakeLoop = () => {};
const arrivals = [], costs = [];

async function part(name) {
  const packed = await fetch("data:application/octet-stream;base64," + PARTS[name]);
  delete PARTS[name];
  return new Uint8Array(await new Response(packed.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

async function load() {
  starts = await part("starts");
  screen = new Screen(element("game"), { ...about, channels: about.planes });
  buildStarts();
  reset();                      // the first frame is there before the networks are
  const script = URL.createObjectURL(new Blob([await part("runtime.mjs")], { type: "text/javascript" }));
  const runtime = await import(script);
  runtime.env.wasm.numThreads = 1;           // more need headers that only a server can send
  runtime.env.wasm.wasmBinary = (await part("runtime.wasm")).buffer;
  const graphs = {};
  for (const name of about.graphs) graphs[name] = await part(name);
  const networks = await Networks.load(runtime, graphs);
  world = about.objects ? new ObjectWorld(about, networks, await part("scene")) : new World(about, networks);
  reset();
  veil(coarse() ? "Tap to play" : "Press a key to play");
  play();
}

// ---- the game -----------------------------------------------------------------------------------

async function play() {
  for (let deadline = performance.now(); ; ) {
    while (paused && !oneStep) {
      await new Promise((resolve) => { wakeLoop = resolve; });
      deadline = performance.now();
    }
    oneStep = false;
    await step();
    deadline = Math.max(deadline + 1000 / fps, performance.now() - 1000 / fps);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, deadline - performance.now())));
  }
}

async function step() {
  const { control, button } = pressed();
  const chance = control !== undefined && about.controls[control].chance;
  const held = control === undefined ? button : about.button_for_control[control];
  const began = performance.now();
  const codes = await world.step(held, chance ? Math.max(temperature, 1) : temperature);
  if (!codes) return;
  remember(costs, performance.now() - began, 30);
  remember(arrivals, performance.now(), 120);
  count += 1;
  codeMap.draw(codes);
  light(held);
  show(world.newest);
}

// A key that was down for less than a frame counts for one.
let tapped = null;
function pressed() {
  const now = controls.chosen(), taken = controls.held.size ? now : tapped || now;
  tapped = null;
  return taken;
}

function reset(number = start) {
  start = number;
  count = 0;
  const size = starts.length / about.starts;
  const history = starts.subarray(number * size, (number + 1) * size);
  if (world) world.start(history);
  show(history.subarray(size - size / about.history));
  [...element("starts").children].forEach((thumbnail, place) => thumbnail.classList.toggle("chosen", place === start));
  light(-1);
}

function show(frame) {
  screen.drawPlanes(frame, about.planes);
  element("count").textContent = count;
}

function remember(list, value, most) {
  list.push(value);
  if (list.length > most) list.shift();
}

function setPaused(value) {
  paused = value;
  element("pause").textContent = paused ? "Play" : "Pause";
  if (!paused) { veil(""); wakeLoop(); }
}

const wake = () => { if (world && paused) setPaused(false); };

// ---- the page -----------------------------------------------------------------------------------

function build() {
  controls = new Controls(about, () => { if (controls.held.size) tapped = controls.chosen(); }, wake);
  controls.buildPad(element("pad"));
  controls.explainKeys(element("legend"));
  codeMap = new CodeMap(element("codes"), about);
  explain(element("explanation"), about.explanation);
  element("buttons").replaceChildren(...about.buttons.map((button) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.textContent = button;
    const names = about.controls.filter((_, control) => about.button_for_control[control] === button).map(({ name }) => name);
    if (about.named) chip.append(Object.assign(document.createElement("small"), { textContent: names.join(", ") || "no key" }));
    controls.holdWhile(chip, { button });
    return chip;
  }));
  const speeds = [...new Set([5, 15, 30, 60, about.fps])].sort((a, b) => a - b);
  element("speed").replaceChildren(...speeds.map((each) => new Option(each + " frames/s", each)));
  element("speed").value = about.fps;
  element("temperature").max = about.hottest;
}

function buildStarts() {
  const size = starts.length / about.starts, last = size - size / about.history;
  element("starts").replaceChildren(...Array.from({ length: about.starts }, (_, number) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    button.type = "button";
    button.title = "start " + number;
    button.append(canvas);
    new Screen(canvas, { ...about, channels: about.planes })
      .drawPlanes(starts.subarray(number * size + last, (number + 1) * size), about.planes);
    button.addEventListener("click", () => { reset(number); button.blur(); });
    return button;
  }));
}

function light(held) {
  [...element("buttons").children].forEach((chip, place) => chip.classList.toggle("down", about.buttons[place] === held));
}

function showNumbers() {
  const now = performance.now();
  element("rate").textContent = arrivals.filter((at) => at > now - 1000).length;
  element("cost").textContent = costs.length ? median(costs).toFixed(0) + " ms" : "–";
}

function single() { setPaused(true); veil(""); oneStep = true; wakeLoop(); }

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isSetting(event.target, event.code)) return;
  if (controls.keydown(event) || event.repeat || !world) return;
  if (event.code === "KeyP") setPaused(!paused);
  else if (event.code === "KeyN") single();
  else if (event.code === "KeyR") reset();
  else if (!element("veil").hidden && (event.key.length === 1 || event.key === "Enter")) wake();
});
document.addEventListener("keyup", (event) => controls.release(event.code));
window.addEventListener("blur", () => controls.releaseAll());
document.addEventListener("visibilitychange", () => {
  if (document.hidden && !paused) { setPaused(true); veil("Paused. Press a key, or tap, to go on."); }
});
element("veil").addEventListener("click", wake);
element("pause").addEventListener("click", () => setPaused(!paused));
element("step").addEventListener("click", single);
element("reset").addEventListener("click", () => reset());
element("speed").addEventListener("change", () => { fps = Number(element("speed").value); });
element("temperature").addEventListener("input", () => {
  temperature = Number(element("temperature").value);
  element("heat").textContent = temperature ? temperature.toFixed(2) : "off";
});
for (const setting of document.querySelectorAll("#bar input, #bar select, #bar button"))
  setting.addEventListener(setting.tagName === "SELECT" ? "change" : "pointerup", () => setting.blur());
setInterval(showNumbers, 250);
build();
load().catch((error) => { veil("This world cannot be played in this browser: " + error.message + "."); throw error; });
