// What the player holds: keys, fingers and chips, and the control that they mean. Both pages use it.

export const KEYS = {
  ArrowLeft: "left", KeyA: "left", ArrowRight: "right", KeyD: "right", ArrowUp: "up", KeyW: "up",
  ArrowDown: "down", KeyS: "down", Space: "fire",
};
const SIGNS = { left: "◀", right: "▶", up: "▲", down: "▼", fire: "●" };
const PAD_ORDER = ["left", "fire", "up", "down", "right"];

export class Controls {
  // game: {controls: [{name, holds, chance}], rest, buttons}; `changed` is called when what is held changes,
  // `woken` when something new is pressed.
  constructor(game, changed, woken) {
    Object.assign(this, { game, changed, woken });
    this.held = new Map();     // what is held (a key, a touch) → {direction}, {control} or {button}
    this.known = new Set(game.controls.flatMap(({ holds }) => holds));
  }

  hold(source, what) {
    if (this.held.has(source)) return;
    this.held.set(source, what);
    this.woken();
    this.changed();
  }

  release(source) {
    if (this.held.delete(source)) this.changed();
  }

  releaseAll() {
    if (this.held.size) { this.held.clear(); this.changed(); }
  }

  // The control that says most of what is held: of those that ask for nothing more, the one with the newest key.
  chosen() {
    const sources = [...this.held.values()].reverse();
    const direct = sources.find((what) => "button" in what || "control" in what);
    if (direct) return direct;
    const directions = [...new Set(sources.map((what) => what.direction))];
    let best = { control: this.game.rest }, most = 0;
    this.game.controls.forEach(({ holds }, control) => {
      if (!holds.length || !holds.every((direction) => directions.includes(direction))) return;
      const newest = directions.length - Math.min(...holds.map((direction) => directions.indexOf(direction)));
      const score = 10 * holds.length + newest;
      if (score > most) { most = score; best = { control }; }
    });
    return best;
  }

  // Hold what a key stands for; whether it stands for anything.
  keydown(event) {
    const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
    if (KEYS[event.code]) {
      event.preventDefault();
      if (!event.repeat) this.hold(event.code, { direction: this.directionOf(event.code) });
    } else if (digit && this.game.buttons.includes(Number(digit[1]))) {
      if (!event.repeat) this.hold(event.code, { button: Number(digit[1]) });
    } else return false;
    return true;
  }

  // Up fires where there is nothing to go up to.
  directionOf(code) {
    const direction = KEYS[code];
    return direction === "up" && !this.known.has("up") ? "fire" : direction;
  }

  holdWhile(button, what) {
    const source = {};
    const down = (event) => {
      event.preventDefault();
      button.setPointerCapture(event.pointerId);
      button.classList.add("down");
      this.hold(source, what);
    };
    const up = () => { button.classList.remove("down"); this.release(source); };
    button.addEventListener("pointerdown", down);
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(end, up);
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("keydown", (event) => { if (event.code === "Space" && !event.repeat) this.hold(source, what); });
    button.addEventListener("keyup", (event) => { if (event.code === "Space") this.release(source); });
  }

  // The keys under the picture, for fingers.
  buildPad(pad) {
    const directions = PAD_ORDER.filter((one) => this.known.has(one));
    const keys = directions.length
      ? directions.map((one) => [SIGNS[one] + (one === "fire" ? " fire" : ""), { direction: one }, one])
      : this.game.controls.map(({ name }, control) => [name, { control }, name]);
    pad.replaceChildren(...keys.map(([text, what, name]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-label", name);
      this.holdWhile(button, what);
      return button;
    }));
  }

  explainKeys(legend) {
    const chance = this.game.controls.some(({ holds, chance }) => chance && holds.join() === "fire");
    const rows = [
      [["←", "→"], "move", this.known.has("left")], [["↑", "↓"], "up and down", this.known.has("up")],
      [["space"], chance ? "fire, which this world leaves to chance" : "fire", this.known.has("fire")],
      [this.game.buttons.map(String), "hold one button of the world by itself", true],
      [["P"], "pause", true], [["N"], "one step", true], [["R"], "start over", true],
    ];
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
}

// Sliders, lists and focused buttons keep the keys that they understand themselves.
export function isSetting(target, code) {
  return target instanceof Element && target.matches("input, select") ||
    (target instanceof HTMLButtonElement && (code === "Space" || code === "Enter"));
}

export const coarse = () => matchMedia("(pointer: coarse)").matches;

// Notes like "Press a key to play", over the picture.
export function veil(text, again = false) {
  document.getElementById("veil").hidden = !text;
  document.getElementById("notice").textContent = text;
  document.getElementById("again").hidden = !again;
}

// Where the pixels come from: networks, code and the recording.
export function explain(place, explanation) {
  place.replaceChildren(...Object.entries(explanation).map(([source, gives]) => {
    const line = document.createElement("span");
    line.append(Object.assign(document.createElement("b"), { textContent: source + ": " }), gives + " ");
    return line;
  }));
}
