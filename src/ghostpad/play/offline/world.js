// A world in the browser: the networks run in ONNX Runtime Web, what is between them is here.
// The same as ghostpad.world: frames and a button in, codes decided in passes, the next frame out.

const CONFIDENT = 0.9, NUM_PASSES = 4;      // see decoding.py

export class Networks {
  // runtime: the module onnxruntime-web; graphs: name → bytes.
  static async load(runtime, graphs) {
    const networks = new Networks();
    networks.runtime = runtime;
    networks.sessions = {};
    for (const [name, bytes] of Object.entries(graphs))
      networks.sessions[name] = await runtime.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return networks;
  }

  // inputs: name → [array, shape]; gives the array of the output.
  async run(name, inputs) {
    const feeds = {};
    for (const [input, [array, shape]] of Object.entries(inputs))
      feeds[input] = new this.runtime.Tensor(TYPES.get(array.constructor), array, shape);
    const { output } = await this.sessions[name].run(feeds);
    return output.data;
  }
}

const TYPES = new Map([[Uint8Array, "uint8"], [Int32Array, "int32"], [Float32Array, "float32"]]);

export class World {
  // about: what `welcome` says of the world, and its history and features.
  constructor(about, networks) {
    Object.assign(this, { about, networks });
    const [rows, columns] = about.grid;
    this.cells = rows * columns;
    this.frameShape = [1, about.planes, about.height, about.width];
    this.frames = [];
  }

  // history: Uint8Array (k, C, H, W), the newest frame last.
  start(history) {
    const size = history.length / this.about.history;
    this.frames = Array.from({ length: this.about.history }, (_, index) => history.slice(index * size, (index + 1) * size));
  }

  get newest() { return this.frames[this.frames.length - 1]; }

  // Hold a button for one frame; gives the codes of the transition, or null where it was started anew meanwhile.
  async step(button, temperature) {
    const { frames } = this;
    const codes = await this.decode(await this.encode({}), button, temperature);
    const next = await this.draw(this.newest, codes);
    if (this.frames !== frames) return null;
    this.frames = [...frames.slice(1), next];
    return codes;
  }

  encode(prior) {
    const { history, planes, height, width } = this.about;
    const all = new Uint8Array(history * this.newest.length);
    this.frames.forEach((frame, index) => all.set(frame, index * frame.length));
    return this.networks.run("history", { history: [all, [1, history, planes, height, width]], ...prior });
  }

  draw(frame, codes) {
    return this.networks.run("draw", { frame: [frame, this.frameShape], codes: [codes, [1, ...this.about.grid]] });
  }

  // Confident cells are fixed first, the others are predicted again given these (MaskGIT).
  async decode(features, button, temperature) {
    const { cells, about: { codes: mask } } = this;
    let given = new Int32Array(cells).fill(mask);
    const first = await this.pass(features, button, given, temperature);
    given = given.map((_, cell) => first.chance[cell] >= CONFIDENT ? first.codes[cell] : mask);
    const numOpen = given.filter((code) => code === mask).length;
    for (let number = 1; number <= NUM_PASSES && given.includes(mask); number++) {
      const { codes, chance } = await this.pass(features, button, given, temperature);
      const open = [...given.keys()].filter((cell) => given[cell] === mask);
      open.sort((a, b) => chance[a] - chance[b] || a - b);    // the most doubtful ones stay open
      for (const cell of open.slice(Math.floor(numOpen * (NUM_PASSES - number) / NUM_PASSES))) given[cell] = codes[cell];
    }
    return given;
  }

  // A code for each cell, and its probability.
  async pass(features, button, given, temperature) {
    const { cells, about: { grid, codes: numCodes, features: shape } } = this;
    const logits = await this.networks.run("logits", {
      features: [features, shape], button: [Int32Array.of(button), [1]], given: [given, [1, ...grid]],
    });
    const codes = new Int32Array(cells), chance = new Float32Array(cells);
    for (let cell = 0; cell < cells; cell++)
      [codes[cell], chance[cell]] = choose(logits, numCodes, cells, cell, temperature);
    return { codes, chance };
  }
}

// One of `num` logits, `step` apart from `first` on, and its probability; the likeliest at temperature 0.
export function choose(logits, num, step, first, temperature) {
  let best = 0, total = 0;
  for (let k = 1; k < num; k++) if (logits[first + k * step] > logits[first + best * step]) best = k;
  const most = logits[first + best * step], weights = new Float32Array(num);
  for (let k = 0; k < num; k++) total += weights[k] = Math.exp((logits[first + k * step] - most) / (temperature || 1));
  if (temperature) {
    let left = Math.random() * total;
    for (best = 0; best < num - 1 && (left -= weights[best]) > 0;) best++;
  }
  return [best, weights[best] / total];
}
