// The object prior: objects are tracked, moved by small networks and composited by code, as in ghostpad.objects,
// whose modules have the same functions under the same names and say why. Pictures are one number for each
// pixel, red, green and blue in one; positions are [row, column].

const MAX_OBJECTS = 32, MAX_COLORS = 8, MAX_AREA = 512, MAX_SPRITE_AREA = 24, MAX_DISPLACEMENT = 24;
const COLOR_TOLERANCE = 16, ROW_COLOR_KEY = -1, MAX_FRAMES_UNSEEN = 3, FORBIDDEN = 1e6, MIN_VISIBLE = 2;
const MAX_MERGED_RATIO = 2, MIN_OUTLINE = 0.5, MARGIN = 3, ROW_SCALE = 1.01;
const CROP_RADIUS = 28, MAX_OFFSET = 16, SIDE = 2 * MAX_OFFSET + 1, OCCLUDED = SIDE * SIDE, OCCLUDED_THRESHOLD = 0.98;
const VELOCITY_SCALE = 8, PAST = 7, DISPLACEMENT_SCALE = 16, MAX_STEP = 32;

const clip = (value, low, high) => Math.min(Math.max(value, low), high);
const add = (a, b, times = 1) => [a[0] + times * b[0], a[1] + times * b[1]];
const distance = (a, b) => Math.max(Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1]));
const colorDistance = (a, b) => Math.max(
  Math.abs((a >> 16) - (b >> 16)), Math.abs((a >> 8 & 255) - (b >> 8 & 255)), Math.abs((a & 255) - (b & 255)));
const colorNear = (a, b) => colorDistance(a, b) <= COLOR_TOLERANCE;

function roundHalfEven(value) {
  const floor = Math.floor(value), rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

function meanColor(colors) {
  const sums = [0, 0, 0];
  for (const color of colors) { sums[0] += color >> 16; sums[1] += color >> 8 & 255; sums[2] += color & 255; }
  return sums.map((sum) => sum / colors.length);
}

// ---- detection.py -------------------------------------------------------------------------------

// The colour that small objects have on each row: {mask: Mask, colors: (H,), known: (H,)}.
const rowMatches = (rows, color, row) => rows.known[row] === 1 && colorNear(color, rows.colors[row]);

class Mask {
  constructor(height, width, bits) {
    Object.assign(this, { height, width, bits, rows: [], columns: [] });
    bits.forEach((bit, place) => { if (bit) { this.rows.push(Math.floor(place / width)); this.columns.push(place % width); } });
  }

  equals(other) {
    return this.height === other.height && this.width === other.width && this.bits.every((bit, place) => bit === other.bits[place]);
  }
}

class Detected {
  constructor(fields) {
    Object.assign(this, { velocity: null, displacements: [], framesSinceSeen: 1, deformed: null, hasMoved: false,
      predicted: null, occluded: false, rowColors: null, isControllable: false }, fields);
  }

  with(changes) { return new Detected({ ...this, ...changes }); }
  get area() { return this.colors.length; }
  get extrapolated() { return this.velocity === null ? this.position : add(this.position, this.velocity, this.framesSinceSeen); }
  get isNew() { return this.velocity === null; }
  get isConfirmed() { return this.rowColors !== null || (this.hasMoved && this.displacements.length > 0); }
  get isSmall() { return this.area <= MAX_SPRITE_AREA; }
  get isSprite() { return this.isConfirmed && this.isSmall; }
  get isComposited() { return this.isControllable || this.predicted !== null; }
  get isSeenWhole() { return this.framesSinceSeen === 1 && this.deformed === null; }

  // Calls each(row, column, index) for the pixels at a position, as far as they are inside a size.
  pixelsAt([top, left], height, width, each) {
    const { rows, columns } = this.mask;
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] + top, column = columns[i] + left;
      if (row >= 0 && row < height && column >= 0 && column < width) each(row, column, i);
    }
  }

  get alwaysCovered() {
    const { height, width, bits } = this.mask, counts = Array.from(bits);
    let offset = [0, 0];
    for (const moved of [...this.displacements].reverse()) {
      offset = add(offset, moved, -1);
      this.pixelsAt(offset, height, width, (row, column) => { counts[row * width + column] += 1; });
    }
    return counts.map((count) => count > this.displacements.length);
  }

  colorsAt(position) {
    const { rowColors, colors, mask: { rows } } = this;
    if (rowColors === null) return colors;
    return colors.map((color, i) => {
      const row = rows[i] + position[0];
      return row >= 0 && row < rowColors.known.length && rowColors.known[row] ? rowColors.colors[row] : color;
    });
  }

  detectedAt(position) {
    const velocity = [0, 1].map((axis) => roundHalfEven((position[axis] - this.position[axis]) / this.framesSinceSeen));
    return this.with({
      position, velocity, colors: this.colorsAt(position), displacements: [...this.displacements, velocity],
      framesSinceSeen: 1, deformed: null, hasMoved: this.hasMoved || velocity[0] !== 0 || velocity[1] !== 0,
    });
  }

  matches(other) {
    if (!this.mask.equals(other.mask)) return false;
    return (this.rowColors !== null && other.rowColors !== null) || this.colors.every((color, i) => colorNear(color, other.colors[i]));
  }

  // Whether a colour on a row is its own.
  hasColor() {
    const { rowColors } = this;
    if (rowColors !== null) return (color, row) => rowMatches(rowColors, color, row);
    const [red, green, blue] = meanColor(this.colors).map(Math.trunc), mean = red << 16 | green << 8 | blue;
    return (color) => colorNear(color, mean);
  }

  overlaps(other) {
    let shared = false;
    const { height, width, bits } = this.mask;
    other.pixelsAt(add(other.position, this.position, -1), height, width, (row, column) => { shared ||= bits[row * width + column] === 1; });
    return shared;
  }

  mayReach(other) { return distance(other.position, this.position) <= MAX_DISPLACEMENT * this.framesSinceSeen; }
}

// Connected components, with diagonals, of the pixels where inside(place), in the order of their first pixels:
// {places, top, left, bottom, right}; of those alone that hold one of the seeds, if these are given.
function components(height, width, inside, seeds = null) {
  const seen = new Uint8Array(height * width), found = [];
  const grow = (seed) => {
    const places = [seed], component = { places, top: height, left: width, bottom: 0, right: 0, first: seed };
    seen[seed] = 1;
    for (let next = 0; next < places.length; next++) {
      const row = Math.floor(places[next] / width), column = places[next] % width;
      component.top = Math.min(component.top, row);
      component.left = Math.min(component.left, column);
      component.bottom = Math.max(component.bottom, row + 1);
      component.right = Math.max(component.right, column + 1);
      component.first = Math.min(component.first, places[next]);
      for (let y = Math.max(0, row - 1); y <= Math.min(height - 1, row + 1); y++)
        for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x++) {
          const place = y * width + x;
          if (!seen[place] && inside(place)) { seen[place] = 1; places.push(place); }
        }
    }
    found.push(component);
  };
  if (seeds) { for (const seed of seeds) if (!seen[seed] && inside(seed)) grow(seed); }
  else for (let place = 0; place < height * width; place++) if (!seen[place] && inside(place)) grow(place);
  return found.sort((a, b) => a.first - b.first);
}

// Objects in a picture: components of one colour that differ from the background; null where they are too many.
function detect(picture, background, { height, width }, rowColors = null) {
  const changed = [], keys = picture.slice();
  for (let place = 0; place < picture.length; place++) if (picture[place] !== background[place]) changed.push(place);
  if (!changed.length) return [];
  if (rowColors !== null)
    for (let row = 0, place = 0; row < height; row++)
      for (let column = 0; column < width; column++, place++) if (rowMatches(rowColors, keys[place], row)) keys[place] = ROW_COLOR_KEY;
  const colors = [...new Set(changed.map((place) => keys[place]))].sort((a, b) => a - b);
  const isChanged = colors.length > MAX_COLORS ? new Set(changed) : null, objects = [];
  for (const key of isChanged ? [null] : colors) {
    const inside = isChanged ? (place) => isChanged.has(place) : (place) => keys[place] === key;
    let count = 0;
    for (let place = 0; place < keys.length; place++) count += inside(place);
    if (count > Math.floor(keys.length / 4)) continue;
    for (const component of components(height, width, inside, changed)) {
      if (component.places.length > MAX_AREA) continue;
      const { top, left, bottom, right } = component, bits = new Uint8Array((bottom - top) * (right - left));
      const places = component.places.sort((a, b) => a - b);
      for (const place of places) bits[(Math.floor(place / width) - top) * (right - left) + place % width - left] = 1;
      const mask = new Mask(bottom - top, right - left, bits);
      const byRow = rowColors !== null && mask.equals(rowColors.mask) && keys[places[0]] === ROW_COLOR_KEY;
      objects.push(new Detected({ position: [top, left], mask, colors: places.map((place) => picture[place]), rowColors: byRow ? rowColors : null }));
    }
  }
  return objects.length <= MAX_OBJECTS ? objects : null;
}

// ---- tracking.py --------------------------------------------------------------------------------

function track(history, scene, last) {
  const tracks = trackMoving(history, scene, last);
  let controllable = locateControllable(tracks.newest, tracks.objects, scene);
  if (controllable === null) return tracks;
  const others = tracks.objects.filter((each) => each !== controllable);
  if (controllable.velocity === null) {
    const { position: [top, left], mask: { height, width } } = controllable;
    let moved = false;
    for (let row = top; row < top + height; row++)
      for (let column = left; column < left + width; column++) moved ||= tracks.changed[row * scene.width + column] === 1;
    const displacements = moved ? [] : Array.from({ length: history.length - 1 }, () => [0, 0]);
    controllable = controllable.with({ velocity: [0, 0], displacements });
  }
  return { ...tracks, objects: [...others, controllable.with({ isControllable: true })] };
}

function trackMoving(history, scene, last) {
  const newest = history[history.length - 1], previous = history[history.length - 2];
  const changed = new Uint8Array(newest.length), background = newest.slice();
  for (let i = 1; i < history.length; i++)
    for (let place = 0; place < changed.length; place++) if (history[i][place] !== history[i - 1][place]) changed[place] = 1;
  const tracks = { newest, previous, background, changed, objects: [], scene, detections: [], control: null };
  if (!changed.includes(1)) return tracks;
  for (let place = 0; place < changed.length; place++)
    if (changed[place]) background[place] = history.map((frame) => frame[place]).sort((a, b) => a - b)[history.length >> 1];
  const reusable = last !== null && last.background.every((color, place) => color === background[place]);
  tracks.detections = reusable ? last.detections.slice(1) : [];
  for (const frame of history.slice(tracks.detections.length)) {
    const detected = detect(frame, background, scene, scene.rowColors);
    if (detected === null) return { ...tracks, detections: [] };
    tracks.detections.push(detected);
  }
  history.forEach((frame, i) => { tracks.objects = associate(tracks.objects, tracks.detections[i], frame, tracks); });
  return tracks;
}

function associate(objects, detections, frame, tracks) {
  let pairs = assign(objects, detections, (detection, each) => detection.matches(each));
  let found = detections.map((each, number) => pairs.has(number) ? objects[pairs.get(number)].detectedAt(each.position) : each);
  let taken = new Set(pairs.values()), missing = objects.filter((_, number) => !taken.has(number));
  [missing, found] = recoverHidden(missing, found, frame, tracks);
  const fresh = [...found.keys()].filter((number) => found[number].isNew);
  pairs = assign(missing, fresh.map((number) => found[number]), hasSimilarArea);
  for (const [place, column] of pairs) {
    const before = missing[column], detection = found[fresh[place]];
    const growth = [detection.mask.height - before.mask.height, detection.mask.width - before.mask.width];
    const moved = before.detectedAt(add(detection.position, growth.map((each) => Math.floor(each / 2))));
    if (before.isSprite) found[fresh[place]] = moved.with({ deformed: detection });
    else if (before.isSmall && detection.isSmall)
      found[fresh[place]] = detection.with({ velocity: moved.velocity, hasMoved: moved.hasMoved });
  }
  taken = new Set(pairs.values());
  const lost = missing.filter((each, number) => !taken.has(number) && each.hasMoved && each.framesSinceSeen <= MAX_FRAMES_UNSEEN);
  return [...found, ...lost.map((each) => each.with({ framesSinceSeen: each.framesSinceSeen + 1 }))];
}

function assign(objects, detections, fits) {
  const pairs = new Map();
  if (!objects.length || !detections.length) return pairs;
  const costs = detections.map((detection) => objects.map((each) =>
    each.mayReach(detection) && fits(detection, each) ? distance(detection.position, each.extrapolated) : FORBIDDEN));
  for (const [row, column] of linearSumAssignment(costs)) if (costs[row][column] < FORBIDDEN) pairs.set(row, column);
  return pairs;
}

// Pairs [row, column] of least total cost: shortest augmenting paths.
function linearSumAssignment(costs) {
  if (costs.length > costs[0].length)
    return linearSumAssignment(costs[0].map((_, column) => costs.map((row) => row[column]))).map(([a, b]) => [b, a]);
  const n = costs.length, m = costs[0].length, rowOf = new Array(m + 1).fill(0), u = new Array(n + 1).fill(0), v = new Array(m + 1).fill(0);
  for (let row = 1; row <= n; row++) {
    const least = new Array(m + 1).fill(Infinity), used = new Array(m + 1).fill(false), way = new Array(m + 1).fill(0);
    let column = 0;
    rowOf[0] = row;
    do {
      used[column] = true;
      let delta = Infinity, next = 0;
      for (let j = 1; j <= m; j++) {
        if (used[j]) continue;
        const reduced = costs[rowOf[column] - 1][j - 1] - u[rowOf[column]] - v[j];
        if (reduced < least[j]) { least[j] = reduced; way[j] = column; }
        if (least[j] < delta) { delta = least[j]; next = j; }
      }
      for (let j = 0; j <= m; j++) {
        if (used[j]) { u[rowOf[j]] += delta; v[j] -= delta; }
        else least[j] -= delta;
      }
      column = next;
    } while (rowOf[column]);
    for (; column; column = way[column]) rowOf[column] = rowOf[way[column]];
  }
  return rowOf.flatMap((row, column) => column && row ? [[row - 1, column - 1]] : []).sort((a, b) => a[0] - b[0]);
}

const hasSimilarArea = (detection, before) => Math.max(before.area, detection.area) <= 2 * Math.min(before.area, detection.area);

function recoverHidden(missing, found, frame, tracks) {
  const sought = missing.filter((each) => each.isConfirmed).sort((a, b) => a.isSmall - b.isSmall);
  for (const each of sought) {
    const position = search(each, found, frame, tracks);
    if (position === null) continue;
    const seen = each.detectedAt(position);
    missing = missing.filter((other) => other !== each);
    found = [...found.filter((other) => !(other.isNew && seen.overlaps(other))), seen];
  }
  return [missing, found];
}

function search(sought, found, frame, { scene, background }) {
  const { mask } = sought, reach = MAX_DISPLACEMENT * sought.framesSinceSeen;
  const [top, left] = sought.position.map((at) => Math.max(at - reach, 0));
  const height = Math.min(sought.position[0] + mask.height + reach, scene.height) - top;
  const width = Math.min(sought.position[1] + mask.width + reach, scene.width) - left;
  if (height < mask.height || width < mask.width) return null;
  const hasColor = sought.hasColor(), allowed = new Uint8Array(height * width), unexplained = new Uint8Array(height * width);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const there = (row + top) * scene.width + column + left, here = row * width + column, own = hasColor(frame[there], row + top);
      allowed[here] = own || (sought.isSmall && scene.occluders[there]) ? 1 : 0;
      unexplained[here] = own && frame[there] !== background[there] ? 1 : 0;
    }
  for (const each of found)
    if (!each.isNew) each.pixelsAt(add(each.position, [top, left], -1), height, width, (row, column) => { unexplained[row * width + column] = 0; });
  if (!unexplained.includes(1)) return null;
  const mostLeft = sought.isSmall ? 0 : MAX_SPRITE_AREA, offsets = mask.rows.map((row, i) => row * width + mask.columns[i]);
  const fits = [];
  for (let row = 0; row + mask.height <= height; row++)
    for (let column = 0; column + mask.width <= width; column++)
      if (offsets.every((offset) => allowed[row * width + column + offset])) fits.push([row, column]);
  let best = [MIN_VISIBLE - 1, 0], bestPosition = null;
  for (const { places } of components(height, width, (place) => unexplained[place] === 1)) {
    const inside = new Set(places);
    for (const [row, column] of fits) {
      let covered = 0;
      for (const offset of offsets) covered += inside.has(row * width + column + offset);
      if (places.length - covered > mostLeft) continue;
      const position = [row + top, column + left], away = -distance(position, sought.extrapolated);
      if (covered > best[0] || (covered === best[0] && away > best[1])) { best = [covered, away]; bestPosition = position; }
    }
  }
  return bestPosition;
}

function locateControllable(frame, objects, { controllable: template, height, width }) {
  if (template === null) return null;
  const seen = objects.find((each) => each.isSeenWhole && each.matches(template));
  if (seen) return seen;
  const { mask } = template, high = mask.height + 2, wide = mask.width + 2;
  const inMask = (row, column) => row >= 0 && row < mask.height && column >= 0 && column < mask.width && mask.bits[row * mask.width + column] === 1;
  const outline = [];      // beside the mask, from its upper left corner
  for (let row = -1; row <= mask.height; row++)
    for (let column = -1; column <= mask.width; column++)
      if (!inMask(row, column) && (inMask(row - 1, column) || inMask(row + 1, column) || inMask(row, column - 1) || inMask(row, column + 1)))
        outline.push([row, column]);
  const hasColor = template.hasColor();
  let best = MIN_OUTLINE * outline.length, bestPosition = null;
  for (const { places, top, left, bottom, right } of components(height, width, (place) => hasColor(frame[place]))) {
    if (bottom - top + 2 < high || right - left + 2 < wide || places.length > MAX_MERGED_RATIO * template.area) continue;
    const inside = new Set(places);
    const has = (row, column) => column >= 0 && column < width && inside.has(row * width + column);
    for (let row = top; row + mask.height <= bottom; row++)
      for (let column = left; column + mask.width <= right; column++) {
        if (!mask.rows.every((y, i) => has(row + y, column + mask.columns[i]))) continue;
        const visible = outline.filter(([y, x]) => !has(row + y, column + x)).length;
        if (visible > best) { best = visible; bestPosition = [row, column]; }
      }
  }
  return bestPosition === null ? null : template.with({ position: bestPosition });
}

// ---- rendering.py -------------------------------------------------------------------------------

const controllableOf = (tracks) => tracks.objects.find((each) => each.isControllable) || null;
const visible = (tracks) => tracks.objects.filter((each) => each.predicted !== null && !each.occluded);

function withoutObjects(tracks) {
  const picture = tracks.newest.slice(), controllable = controllableOf(tracks);
  if (controllable) removeControllable(picture, tracks, controllable);
  for (const each of tracks.objects) if (each.isComposited && !each.isControllable) remove(picture, tracks, each);
  return picture;
}

function extrapolate(tracks, background) {
  const picture = background.slice(), others = tracks.objects.filter((each) => !each.isComposited);
  for (const each of others)
    if (each.deformed !== null || (each.velocity !== null && (each.velocity[0] || each.velocity[1]))) remove(picture, tracks, each);
  for (const each of [...others].sort((a, b) => b.framesSinceSeen - a.framesSinceSeen)) draw(picture, each, each.extrapolated, tracks.scene, true);
  return picture;
}

function predictedMask(tracks) {
  const { height, width } = tracks.scene, mask = new Uint8Array(height * width);
  for (const each of visible(tracks))
    if (!each.isControllable) each.pixelsAt(each.predicted, height, width, (row, column) => { mask[row * width + column] = 1; });
  return mask;
}

function composite(tracks, picture) {
  for (const each of visible(tracks)) draw(picture, each, each.predicted, tracks.scene, true);
}

function compositeSpawn(tracks, picture) {
  const { scene } = tracks, { spawn } = scene;
  if (tracks.objects.some((each) => each.isSmall && each.hasMoved)) return;
  const found = detect(picture, tracks.newest, scene);
  if (found !== null && !found.some((each) => each.matches(spawn))) draw(picture, spawn, spawn.position, scene, false);
}

function repair(tracks, picture) {
  const { scene } = tracks, sprites = visible(tracks).filter((each) => !each.isControllable);
  const drawn = sprites.length ? detect(picture, tracks.background, scene, scene.rowColors) || [] : [];
  for (const sprite of sprites)
    for (const each of drawn)
      if (sprite.mayReach(each) && isCopyOrFragment(picture, each, sprite, tracks)) inpaint(picture, tracks, each);
  unifyPartColors(picture, scene.rigidParts);
}

function isCopyOrFragment(picture, drawn, sprite, tracks) {
  if (drawn.matches(sprite)) return true;
  const hasColor = sprite.hasColor(), { width } = tracks.scene, means = [drawn, sprite].map(({ colors }) => meanColor(colors));
  const isNear = means[0].every((mean, channel) => Math.abs(mean - means[1][channel]) <= COLOR_TOLERANCE);
  let shown = true;
  drawn.mask.rows.forEach((y, i) => {
    const row = drawn.position[0] + y, column = drawn.position[1] + drawn.mask.columns[i];
    shown &&= hasColor(picture[row * width + column], row);
  });
  if (drawn.area > 2 * sprite.area || !(isNear || shown)) return false;
  return !tracks.objects.some((each) => each.matches(drawn) && distance(each.position, drawn.position) < 2);
}

function unifyPartColors(picture, parts) {
  const places = new Map(), mixed = new Set(), first = new Map();
  parts.forEach((part, place) => {
    if (!part) return;
    if (!first.has(part)) { first.set(part, picture[place]); places.set(part, []); }
    places.get(part).push(place);
    if (picture[place] !== first.get(part)) mixed.add(part);
  });
  for (const part of mixed) {
    const color = commonest(places.get(part).map((place) => picture[place]));
    for (const place of places.get(part)) picture[place] = color;
  }
}

function commonest(colors) {
  const counts = new Map();
  for (const color of colors) counts.set(color, (counts.get(color) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0][0];
}

function draw(picture, drawn, position, { height, width, occluders }, behind) {
  const colors = drawn.colorsAt(position), pixels = [];
  drawn.pixelsAt(position, height, width, (row, column, i) => pixels.push([row * width + column, colors[i]]));
  const shown = behind ? pixels.filter(([place]) => !occluders[place]) : [];
  for (const [place, color] of shown.length ? shown : pixels) picture[place] = color;
}

// The box of an object and `margin` around it, as far as it is inside the picture.
function boxOf({ position: [top, left], mask }, margin, scene) {
  const box = { top: Math.max(0, top - margin), left: Math.max(0, left - margin) };
  box.height = Math.min(scene.height, top + mask.height + margin) - box.top;
  box.width = Math.min(scene.width, left + mask.width + margin) - box.left;
  box.place = (row, column) => (row + box.top) * scene.width + column + box.left;
  return box;
}

function remove(picture, tracks, removed) {
  if (removed.deformed !== null) {
    const box = boxOf(removed, MARGIN, tracks.scene), { height, width } = box, colors = [], hidden = new Uint8Array(height * width);
    for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) colors.push(picture[box.place(row, column)]);
    const most = commonest(colors);
    for (let row = 1; row < height - 1; row++)
      for (let column = 1; column < width - 1; column++) {
        const color = colors[row * width + column];
        hidden[row * width + column] = color !== tracks.background[box.place(row, column)] && color !== most ? 1 : 0;
      }
    fill(picture, tracks.background, box, hidden, hidden);
  } else if (removed.framesSinceSeen === 1) inpaint(picture, tracks, removed);
}

function removeControllable(picture, tracks, removed) {
  inpaint(picture, tracks, removed);
  const { height, width, isTypical, typicalFrame } = tracks.scene, covered = removed.alwaysCovered, { mask } = removed;
  removed.pixelsAt(removed.position, height, width, (row, column, i) => {
    const place = row * width + column;
    if (covered[mask.rows[i] * mask.width + mask.columns[i]] && isTypical[place]) picture[place] = typicalFrame[place];
  });
}

function inpaint(picture, tracks, removed) {
  const { scene, background, changed } = tracks, box = boxOf(removed, 1, scene), { height, width } = box;
  const hidden = new Uint8Array(height * width), uncertain = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) uncertain[row * width + column] = changed[box.place(row, column)];
  const covered = removed.alwaysCovered, { mask } = removed;
  const top = removed.position[0] - box.top, left = removed.position[1] - box.left;
  for (let row = 0; row < mask.height; row++)
    for (let column = 0; column < mask.width; column++) {
      const here = (row + top) * width + column + left, place = box.place(row + top, column + left), i = row * mask.width + column;
      if (covered[i]) uncertain[here] = 1;
      hidden[here] = mask.bits[i] && !(scene.occluders[place] && picture[place] === background[place]) ? 1 : 0;
    }
  fill(picture, background, box, hidden, uncertain);
}

function fill(picture, background, box, hidden, uncertain) {
  const { height, width } = box, colors = new Set(), num = height * width;
  const there = Array.from({ length: num }, (_, i) => box.place(Math.floor(i / width), i % width));
  for (let i = 0; i < num; i++) if (hidden[i]) colors.add(picture[there[i]]);
  if (!colors.size) return;
  const same = there.map((place) => colors.has(picture[place]));
  const own = there.map((place, i) => background[place] === picture[place] && hidden[i] && uncertain[i]);
  for (const [part, excluded] of [[(i) => hidden[i] && !own[i], (i) => hidden[i]], [(i) => own[i], (i) => hidden[i] || same[i]]]) {
    const sources = [], painted = [];        // sources column by column, which decides between equally near ones
    for (let column = 0; column < width; column++)
      for (let row = 0; row < height; row++) if (!excluded(row * width + column)) sources.push([row, column]);
    if (!sources.length) continue;
    for (let i = 0; i < num; i++) {
      if (!part(i)) continue;
      let nearest = null, least = Infinity;
      for (const [row, column] of sources) {
        const away = (ROW_SCALE * (row - Math.floor(i / width))) ** 2 + (column - i % width) ** 2;
        if (away < least) { least = away; nearest = there[row * width + column]; }
      }
      painted.push([there[i], picture[nearest] === background[nearest] && !own[i] ? background[there[i]] : picture[nearest]]);
    }
    for (const [place, color] of painted) picture[place] = color;
  }
}

// ---- dynamics.py and action_motion.py -------------------------------------------------------------

export class ObjectPrior {
  // about.objects: what does not change; maps: bytes of the scene's maps, one after the other.
  constructor(about, maps, networks) {
    const { height, width, planes, objects } = about, size = height * width;
    Object.assign(this, { about, objects, networks, size });
    const template = (given) => given && new Detected({
      position: given.position, mask: new Mask(given.height, given.width, Uint8Array.from(given.mask)),
      colors: given.mask.filter(Boolean).map(() => given.color),
    });
    const small = template(objects.small);
    this.scene = {
      height, width, controllable: template(objects.controllable), spawn: template(objects.spawn),
      rowColors: small && { mask: small.mask, colors: objects.row_colors, known: objects.row_colors_known },
      rigidParts: new Int32Array(maps.buffer, 0, size), typicalFrame: this.pack(maps.subarray(4 * size, (4 + planes) * size)),
      isTypical: maps.subarray((4 + planes) * size, (5 + planes) * size), occluders: maps.subarray((5 + planes) * size),
    };
  }

  // Bytes (C, H, W) as one number for each pixel, and back.
  pack(bytes) {
    const { size, about: { planes } } = this, picture = new Int32Array(size);
    for (let plane = 0; plane < planes; plane++) for (let place = 0; place < size; place++) picture[place] = picture[place] << 8 | bytes[plane * size + place];
    return picture;
  }

  unpack(picture) {
    const { size, about: { planes } } = this, bytes = new Uint8Array(planes * size);
    for (let plane = 0; plane < planes; plane++)
      for (let place = 0; place < size; place++) bytes[plane * size + place] = picture[place] >> 8 * (planes - 1 - plane);
    return bytes;
  }

  // The tracks with the predicted positions of all objects that a network predicts.
  async predict(tracks, button, control, temperature) {
    const controllable = controllableOf(tracks);
    if (controllable && this.objects.motion) tracks = await this.predictControllable(tracks, controllable, button, control, temperature);
    if (!this.objects.sprites) return tracks;
    const objects = [];
    for (const each of tracks.objects)
      objects.push(each.isSprite && !each.isControllable ? await this.predictSprite(tracks, each, temperature) : each);
    return { ...tracks, objects };
  }

  async predictControllable(tracks, controllable, button, control, temperature) {
    const { lowest, highest, overshoot_low: low, overshoot_high: high, rest_button: rest } = this.objects;
    const { button: before, overshoot } = control || this.initialControl(controllable);
    const pasts = new Float32Array(3 * PAST), atEdge = [0, 1].some((axis) => lowest[axis] < highest[axis] &&
      (controllable.position[axis] <= lowest[axis] || controllable.position[axis] >= highest[axis]));
    if (!atEdge) controllable.displacements.slice(-PAST).reverse().forEach((moved, i) => {
      pasts.set([moved[0] / DISPLACEMENT_SCALE, moved[1] / DISPLACEMENT_SCALE, 1], 3 * i);
    });
    const logits = await this.networks.run("motion", {
      pasts: [pasts, [1, 3 * PAST]], previous: [Int32Array.of(before), [1]], button: [Int32Array.of(button), [1]],
    });
    const num = 2 * MAX_STEP + 1;
    const reached = [0, 1].map((axis) =>
      controllable.position[axis] + overshoot[axis] + choose(logits, num, 1, axis * num, temperature)[0] - MAX_STEP);
    const stopped = reached.some((at, axis) => at < lowest[axis] - low[axis] || at > highest[axis] + high[axis]);
    const clipped = reached.map((at, axis) => clip(at, lowest[axis] - low[axis], highest[axis] + high[axis]));
    const position = clipped.map((at, axis) => clip(at, lowest[axis], highest[axis]));
    const objects = tracks.objects.map((each) => each === controllable ? each.with({ predicted: position }) : each);
    return { ...tracks, objects, control: { button: stopped ? rest : button, overshoot: add(clipped, position, -1) } };
  }

  // An object at an edge is as far beyond it as it can be.
  initialControl({ position }) {
    const { lowest, highest, overshoot_low: low, overshoot_high: high, rest_button: rest } = this.objects;
    const overshoot = [0, 1].map((axis) => {
      if (lowest[axis] >= highest[axis]) return 0;
      return position[axis] <= lowest[axis] ? -low[axis] : position[axis] >= highest[axis] ? high[axis] : 0;
    });
    return { button: overshoot[0] || overshoot[1] ? rest : -1, overshoot };
  }

  async predictSprite(tracks, sprite, temperature) {
    const state = new Float32Array(3 + MAX_FRAMES_UNSEEN + 1), velocity = sprite.velocity || [0, 0];
    state.set([velocity[0] / VELOCITY_SCALE, velocity[1] / VELOCITY_SCALE, sprite.velocity === null ? 1 : 0]);
    state[2 + Math.min(sprite.framesSinceSeen, MAX_FRAMES_UNSEEN + 1)] = 1;
    const [down, right] = add(sprite.extrapolated, sprite.position, -1).map((each) => clip(each, -MAX_OFFSET, MAX_OFFSET) + MAX_OFFSET);
    const crop = this.crop(tracks, sprite), side = 2 * CROP_RADIUS;
    const logits = await this.networks.run("sprites", {
      crop: [crop, [1, crop.length / side ** 2, side, side]], state: [state, [1, state.length]],
      extrapolated: [Int32Array.of(down * SIDE + right), [1]],
    });
    const [moved] = choose(logits, OCCLUDED, 1, 0, temperature);
    let most = -Infinity, total = 0;
    for (const logit of logits) most = Math.max(most, logit);
    for (const logit of logits) total += Math.exp((logit - most) / (temperature || 1));
    const chance = Math.exp((logits[OCCLUDED] - most) / (temperature || 1)) / total;
    const occluded = temperature ? Math.random() < chance : chance > OCCLUDED_THRESHOLD;
    const displacement = [Math.floor(moved / SIDE) - MAX_OFFSET, moved % SIDE - MAX_OFFSET];
    return sprite.with({ occluded, predicted: add(sprite.position, displacement) });
  }

  // The surroundings of an object: both frames, where the controllable object will be, and its own mask.
  crop(tracks, centre) {
    const { about: { planes, height, width } } = this, side = 2 * CROP_RADIUS, area = side * side;
    const shown = new Uint8Array((2 * planes + 2) * area), controllable = controllableOf(tracks);
    const corner = [Math.floor(centre.mask.height / 2), Math.floor(centre.mask.width / 2)].map((half, axis) => centre.position[axis] + half - CROP_RADIUS);
    [tracks.newest, tracks.previous].forEach((picture, number) => {
      for (let row = Math.max(0, -corner[0]); row < side && row + corner[0] < height; row++)
        for (let column = Math.max(0, -corner[1]); column < side && column + corner[1] < width; column++)
          for (let plane = 0; plane < planes; plane++)
            shown[(number * planes + plane) * area + row * side + column] =
              picture[(row + corner[0]) * width + column + corner[1]] >> 8 * (planes - 1 - plane);
    });
    const drawn = [[2 * planes + 1, centre, centre.position]];
    if (controllable) drawn.push([2 * planes, controllable, controllable.predicted || controllable.extrapolated]);
    for (const [plane, each, position] of drawn)
      each.pixelsAt(add(position, corner, -1), side, side, (row, column) => { shown[plane * area + row * side + column] = 255; });
    return shown;
  }
}

// A world with the object prior: codes describe what differs from what the prior expects.
export class ObjectWorld extends World {
  constructor(about, networks, maps) {
    super(about, networks);
    this.prior = new ObjectPrior(about, maps, networks);
  }

  start(history) {
    super.start(history);
    this.pictures = this.frames.map((frame) => this.prior.pack(frame));
    this.control = this.last = null;
  }

  async step(button, temperature) {
    const { frames, prior } = this, { scene } = prior, { height, width, grid } = this.about;
    const tracks = await prior.predict(track(this.pictures, scene, this.last && this.last.tracks), button, this.control, temperature);
    const background = withoutObjects(tracks), expected = extrapolate(tracks, background), bytes = prior.unpack(background);
    const codesExpected = await this.codesBetween(background, expected, bytes);
    const features = await this.encode({
      prior_codes: [codesExpected, [1, ...grid]], prior_mask: [predictedMask(tracks), [1, 1, height, width]],
    });
    const codes = await this.decode(features, button, temperature);
    const picture = expected.slice();
    if (codes.some((code, cell) => code !== codesExpected[cell]))
      this.paint(picture, prior.pack(await this.draw(bytes, codes)), codes, codesExpected);
    repair(tracks, picture);
    composite(tracks, picture);
    if (scene.spawn && button === prior.objects.spawn_button) compositeSpawn(tracks, picture);
    if (this.frames !== frames) return null;
    this.frames = [...frames.slice(1), prior.unpack(picture)];
    this.pictures = [...this.pictures.slice(1), picture];
    this.control = tracks.control || { button, overshoot: [0, 0] };
    this.last = { tracks, background, expected, codes: codesExpected };
    return codes;
  }

  // The codes of what is expected; most often they are those of the frame before.
  async codesBetween(background, expected, bytes) {
    const same = (a, b) => a.every((color, place) => color === b[place]);
    if (this.last && same(background, this.last.background) && same(expected, this.last.expected)) return this.last.codes;
    const shape = this.frameShape;
    return this.networks.run("codes", { frame: [bytes, shape], next_frame: [this.prior.unpack(expected), shape] });
  }

  // Codes are about their cell and its neighbours, or about the whole frame.
  paint(picture, drawn, codes, expected) {
    const { width, grid: [rows, columns], objects: { cell, local } } = this.about, near = new Uint8Array(rows * columns);
    codes.forEach((code, place) => {
      if (code === expected[place]) return;
      const row = Math.floor(place / columns), column = place % columns;
      for (let y = Math.max(0, row - 1); y <= Math.min(rows - 1, row + 1); y++)
        for (let x = Math.max(0, column - 1); x <= Math.min(columns - 1, column + 1); x++) near[y * columns + x] = 1;
    });
    for (let place = 0; place < picture.length; place++)
      if (!local || near[Math.floor(Math.floor(place / width) / cell) * columns + Math.floor(place % width / cell)]) picture[place] = drawn[place];
  }
}
