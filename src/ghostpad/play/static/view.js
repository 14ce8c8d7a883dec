// What is drawn: pictures pixel by pixel, and the map of codes.

export class Screen {
  // channels 1: each byte is an index into colors; channels 3: red, green, blue.
  constructor(canvas, { height, width, channels, colors }) {
    canvas.width = width;
    canvas.height = height;
    this.context = canvas.getContext("2d");
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.channels = channels;
    this.bytes = height * width * channels;
    this.table = new Uint32Array(256);
    if (colors) this.setColors(colors);
  }

  setColors(colors) {
    colors.forEach(([red, green, blue], index) => { this.table[index] = pack(red, green, blue); });
  }

  draw(bytes) {
    const { pixels, table } = this;
    if (this.channels === 1) for (let i = 0; i < pixels.length; i++) pixels[i] = table[bytes[i]];
    else for (let i = 0, j = 0; i < pixels.length; i++, j += 3) pixels[i] = pack(bytes[j], bytes[j + 1], bytes[j + 2]);
    this.context.putImageData(this.image, 0, 0);
  }

  // Bytes plane by plane: one plane of brightness, or three of red, green and blue.
  drawPlanes(bytes, planes) {
    const { pixels } = this, [, green, blue] = planes === 3 ? [0, 1, 2] : [0, 0, 0], size = pixels.length;
    for (let i = 0; i < size; i++) pixels[i] = pack(bytes[i], bytes[green * size + i], bytes[blue * size + i]);
    this.context.putImageData(this.image, 0, 0);
  }
}

export class CodeMap {
  // The most frequent code of a cell is gray, so that events stand out; the others have the colours of the theme.
  constructor(canvas, { grid: [rows, columns], codes, height, width }) {
    canvas.width = columns;
    canvas.height = rows;
    canvas.style.aspectRatio = width + " / " + height;
    this.context = canvas.getContext("2d");
    this.image = this.context.createImageData(columns, rows);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.counts = Array.from({ length: rows * columns }, () => new Map());
    this.usual = new Int32Array(rows * columns).fill(-1);
    this.colors = Array.from({ length: codes }, (_, code) => themed("--series-" + (1 + code % 4)));
    this.usualColor = themed("--neutral") & 0x55ffffff;
  }

  draw(codes) {
    codes.forEach((code, cell) => {
      const counts = this.counts[cell];
      counts.set(code, (counts.get(code) || 0) + 1);
      if (this.usual[cell] < 0 || counts.get(code) > counts.get(this.usual[cell])) this.usual[cell] = code;
      this.pixels[cell] = code === this.usual[cell] ? this.usualColor : this.colors[code];
    });
    this.context.putImageData(this.image, 0, 0);
  }
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

// Canvas pixels are red, green, blue, alpha in memory.
const pack = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

function themed(name) {
  const value = getComputedStyle(document.documentElement).getPropertyValue(name);
  return pack(...[1, 3, 5].map((place) => parseInt(value.trim().slice(place, place + 2), 16)));
}
