"use strict";
// Draws what is in the data block; nothing is fetched. All arrays are the planes as exported:
// mv in quarter samples, [list][x|y][row][column]; ref in frames, [list][row][column].
const data = JSON.parse(document.getElementById("data").textContent);
const el = (id) => document.getElementById(id);
const stage = el("stage"), timeline = el("timeline"), slider = el("slider");
const [left, top_] = data.crop, W = data.width, H = data.height;
const w4 = data.w4, h4 = data.h4, w16 = data.w16;
const zoom = Math.max(1, Math.min(4, Math.round(960 / W)));
stage.width = W * zoom; stage.height = H * zoom;

const TYPES = {
  0: ["I 4x4", "#d7301f"], 1: ["I 8x8", "#ef6548"], 2: ["I 16x16", "#fdae61"], 3: ["I PCM", "#7f0000"],
  4: ["P skip", "#9aa5b0"], 5: ["B skip", "#b9c2ca"], 6: ["B direct", "#74add1"], 7: ["16x16", "#4575b4"],
  8: ["16x8", "#35978f"], 9: ["8x16", "#1b7837"], 10: ["8x8", "#762a83"],
  252: ["inter, shape unknown", "#8073ac"], 253: ["intra, kind unknown", "#e08214"], 255: ["lost", "#000"],
};
const refColour = (r) => {
  if (r <= -32765) return "#ffffff";                 // used, but its picture is not known
  const past = ["#fff3b0", "#ffd166", "#fb8b24", "#f3722c", "#e5383b", "#ba181b", "#7b2cbf", "#4a0e4e"];
  const future = ["#caffbf", "#80ffdb", "#64dfdf", "#48bfe3", "#4895ef", "#4361ee", "#3a0ca3", "#10002b"];
  return (r < 0 ? past : future)[Math.min(7, Math.round(2 * Math.log2(Math.abs(r))))];  // 1 2 3 4 6 8 11+
};
const refText = (r) => ({ 0: "–", [-32768]: "not known", [-32767]: "not shown", [-32766]: "missing", [-32765]: "other field" })[r]
  ?? `${r > 0 ? "+" : "−"}${Math.abs(r)}`;
const heat = (t) => `hsla(${240 - 240 * Math.max(0, Math.min(1, t))}, 90%, 50%, 0.45)`;

async function unpack(text, type) {
  if (!text) return null;
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new type(await new Response(stream).arrayBuffer());
}
const image = (uri) => uri ? new Promise((done) => { const i = new Image(); i.onload = () => done(i); i.onerror = () => done(null); i.src = uri; }) : null;
const cache = new Map();
async function load(n) {
  if (!cache.has(n)) {
    const f = data.frames[n];
    cache.set(n, Promise.all([image(f.rgb), image(f.residual), unpack(f.mv, Int16Array), unpack(f.ref, Int16Array),
      unpack(f.mb_type, Uint8Array), unpack(f.qp, Int16Array), unpack(f.bits, Uint16Array), unpack(f.displacement, Int16Array),
      unpack(f.mask, Uint8Array)])
      .then(([rgb, residual, mv, ref, mb, qp, bits, disp, mask]) => ({ rgb, residual, mv, ref, mb, qp, bits, disp, mask })));
  }
  return cache.get(n);
}

// What can be shown, and whether this stream has it.
const BASE = [["rgb", "decoded picture", "rgb"], ["residual", "residual (luma)", "residual"], ["black", "nothing", null]];
const OVER = [["mv0", "vectors, list 0", "mv"], ["mv1", "vectors, list 1", "mv"], ["type", "block types", "mb_type"],
  ["qp", "QP", "qp"], ["bits", "bits", "bits"], ["acc", "motion since the anchor", "displacement"]];
const has = (plane) => !plane || data.frames.some((f) => f[plane]);
function choice(box, kind, items, checked) {
  for (const [id, text, plane] of items) {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: kind, name: box, id: `show-${id}`, disabled: !has(plane), checked: checked.includes(id) && has(plane) });
    input.addEventListener("change", draw);
    label.append(input, ` ${text}${has(plane) ? "" : " (not available)"}`);
    label.className = has(plane) ? "" : "off";
    el(box).append(label);
  }
}
choice("base", "radio", BASE, [has("rgb") ? "rgb" : has("residual") ? "residual" : "black"]);
choice("over", "checkbox", OVER, ["mv0"]);
const on = (id) => el(`show-${id}`).checked;

const g = stage.getContext("2d");
const X = (x) => (x - left) * zoom, Y = (y) => (y - top_) * zoom;

function cells(values, size, colour) {
  const across = data.w4 * 4 / size;
  values.forEach((v, i) => {
    const c = colour(v, i);
    if (!c) return;
    g.fillStyle = c;
    g.fillRect(X((i % across) * size), Y(Math.floor(i / across) * size), size * zoom, size * zoom);
  });
}
function arrow(x, y, dx, dy, colour) {
  g.strokeStyle = g.fillStyle = colour;
  const length = Math.hypot(dx, dy);
  if (length < 0.25) { g.fillRect(X(x) - 1, Y(y) - 1, 2, 2); return; }
  const x1 = X(x + dx), y1 = Y(y + dy), a = Math.atan2(dy, dx), head = Math.min(5, 1.5 + length * zoom / 4);
  g.beginPath(); g.moveTo(X(x), Y(y)); g.lineTo(x1, y1); g.stroke();
  g.beginPath(); g.moveTo(x1, y1);
  g.lineTo(x1 - head * Math.cos(a - 0.5), y1 - head * Math.sin(a - 0.5));
  g.lineTo(x1 - head * Math.cos(a + 0.5), y1 - head * Math.sin(a + 0.5)); g.fill();
}
// One arrow for each largest square (16, 8, 4) of equal vector and reference.
function vectors(f, list) {
  const n = w4 * h4, at = (b) => [f.mv[(list * 2) * n + b], f.mv[(list * 2 + 1) * n + b], f.ref[list * n + b]];
  const same = (bx, by, s) => {
    const [x0, y0, r0] = at(by * w4 + bx);
    for (let j = 0; j < s; j++) for (let i = 0; i < s; i++) {
      const [x, y, r] = at((by + j) * w4 + bx + i);
      if (x !== x0 || y !== y0 || r !== r0) return false;
    }
    return true;
  };
  const visit = (bx, by, s) => {
    if (s > 1 && !same(bx, by, s)) {
      const h = s / 2;
      for (const [i, j] of [[0, 0], [h, 0], [0, h], [h, h]]) visit(bx + i, by + j, h);
      return;
    }
    const [x, y, r] = at(by * w4 + bx);
    if (r !== 0) arrow((bx + s / 2) * 4, (by + s / 2) * 4, x / 4, y / 4, refColour(r));
  };
  g.lineWidth = 1.2;
  for (let by = 0; by < h4; by += 4) for (let bx = 0; bx < w4; bx += 4) visit(bx, by, 4);
}
function displacement(f) {
  const n = w4 * h4;
  let most = 8;
  for (const v of f.disp) most = Math.max(most, Math.abs(v));
  cells(f.disp.subarray(0, n), 4, (v, i) => {
    if (f.mask && (f.mask[i] === 2 || f.mask[i] === 3)) return "rgba(0,0,0,0.55)";
    const x = v, y = f.disp[n + i], m = Math.hypot(x, y);
    if (m < 1) return null;
    return `hsla(${(Math.atan2(y, x) * 180 / Math.PI + 360) % 360}, 95%, 55%, ${0.15 + 0.6 * Math.min(1, m / most)})`;
  });
}
const mean = (a) => a.length ? a.reduce((s, v) => s + v, 0) / a.length : NaN;
function facts(f, info) {
  const rows = [["frame", info.index], ["time", info.seconds === null ? "–" : `${info.seconds.toFixed(3)} s`], ["type", info.type + (info.key ? " (key)" : "")]];
  if (info.lost) rows.push(["lost", "yes: damage took this frame"]);
  if (f.bits) rows.push(["bits in blocks", [...f.bits].reduce((s, v) => s + v, 0).toLocaleString()]);
  if (f.qp) rows.push(["mean QP", mean([...f.qp].filter((q) => q !== -128)).toFixed(1)]);
  if (f.ref && f.mv) {
    const n = w4 * h4, used = [], far = new Set();
    for (let l = 0; l < 2; l++) for (let b = 0; b < n; b++) if (f.ref[l * n + b]) {
      used.push(Math.hypot(f.mv[l * 2 * n + b], f.mv[(l * 2 + 1) * n + b]) / 4); far.add(f.ref[l * n + b]);
    }
    rows.push(["mean vector", used.length ? `${mean(used).toFixed(2)} px` : "–"]);
    rows.push(["references", [...far].sort((a, b) => a - b).slice(0, 6).map(refText).join(" ") || "–"]);
  }
  if (f.mb) {
    const share = (ids) => `${(100 * [...f.mb].filter((t) => ids.includes(t)).length / f.mb.length).toFixed(0)} %`;
    rows.push(["intra blocks", share([0, 1, 2, 3, 253])], ["skipped blocks", share([4, 5])]);
  }
  el("facts").replaceChildren(...rows.flatMap(([k, v]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = k; dd.textContent = v; return [dt, dd];
  }));
}
function legend(f) {
  const items = [];
  if (f.ref && (on("mv0") || on("mv1"))) {
    for (const r of [...new Set(f.ref)].filter((v) => v).sort((a, b) => a - b).slice(0, 8)) items.push([refColour(r), `reference ${refText(r)}`]);
  }
  if (f.mb && on("type")) for (const t of new Set(f.mb)) items.push([TYPES[t][1], TYPES[t][0]]);
  if (f.qp && on("qp")) items.push([heat(0), `QP ${data.qp_range[0]}`], [heat(1), `QP ${data.qp_range[1]}`]);
  if (f.bits && on("bits")) items.push([heat(0), "few bits"], [heat(1), "many bits"]);
  el("legend").replaceChildren(...items.map(([c, t]) => {
    const s = document.createElement("span"), i = document.createElement("i");
    i.style.background = c; s.append(i, t); return s;
  }));
}
let current = null, turn = 0;
async function draw() {
  const n = +slider.value, mine = ++turn, f = await load(n), info = data.frames[n];
  if (mine !== turn) return;
  current = f;
  g.fillStyle = "#000"; g.fillRect(0, 0, stage.width, stage.height);
  const picture = on("rgb") ? f.rgb : on("residual") ? f.residual : null;
  if (picture) g.drawImage(picture, 0, 0, stage.width, stage.height);
  if (on("type") && f.mb) cells(f.mb, 16, (t) => (TYPES[t] ?? TYPES[255])[1] + "80");
  if (on("qp") && f.qp) cells(f.qp, 16, (q) => q === -128 ? null : heat((q - data.qp_range[0]) / Math.max(1, data.qp_range[1] - data.qp_range[0])));
  if (on("bits") && f.bits) cells(f.bits, 16, (b) => b ? heat(Math.log2(1 + b) / 11) : null);
  if (on("acc") && f.disp) displacement(f);
  if (f.mv && f.ref) { if (on("mv0")) vectors(f, 0); if (on("mv1")) vectors(f, 1); }
  facts(f, info); legend(f); bars();
  el("counter").textContent = `${n + 1} / ${data.frames.length}`;
  document.body.dataset.frame = n;
  document.body.dataset.ready = "yes";
}
const FRAME_COLOUR = { I: "#d7301f", P: "#4575b4", B: "#74add1", "?": "#9aa5b0" };
function bars() {
  const t = timeline.getContext("2d"), width = timeline.width = timeline.clientWidth * devicePixelRatio, height = timeline.height = 84 * devicePixelRatio;
  const most = Math.max(1, ...data.frames.map((f) => f.bytes ?? 0)), step = width / data.frames.length;
  data.frames.forEach((f, i) => {
    const tall = Math.max(2, Math.sqrt((f.bytes ?? 0) / most) * (height - 8));
    t.fillStyle = f.lost ? "#000" : FRAME_COLOUR[f.type] ?? FRAME_COLOUR["?"];
    t.globalAlpha = i === +slider.value ? 1 : 0.55;
    t.fillRect(i * step, height - tall, Math.max(1, step - 1), tall);
  });
  t.globalAlpha = 1; t.fillStyle = getComputedStyle(document.body).color;
  t.fillRect((+slider.value + 0.5) * step - 1, 0, 2, 6 * devicePixelRatio);
}
timeline.addEventListener("click", (e) => { slider.value = Math.floor(e.offsetX / timeline.clientWidth * data.frames.length); draw(); });
stage.addEventListener("mousemove", (e) => {
  if (!current) return;
  const x = Math.floor(e.offsetX / stage.clientWidth * W) + left, y = Math.floor(e.offsetY / stage.clientHeight * H) + top_;
  const b4 = (y >> 2) * w4 + (x >> 2), b16 = (y >> 4) * w16 + (x >> 4), n = w4 * h4, lines = [`pixel (${x - left}, ${y - top_})`];
  if (current.mb) lines.push(`type: ${(TYPES[current.mb[b16]] ?? ["?"])[0]}`);
  if (current.qp) lines.push(`QP: ${current.qp[b16] === -128 ? "none" : current.qp[b16]}`);
  if (current.bits) lines.push(`bits: ${current.bits[b16]}`);
  if (current.mv && current.ref) for (let l = 0; l < 2; l++) {
    const r = current.ref[l * n + b4];
    if (r) lines.push(`list ${l}: (${current.mv[l * 2 * n + b4] / 4}, ${current.mv[(l * 2 + 1) * n + b4] / 4}) px, reference ${refText(r)}`);
  }
  if (current.disp) lines.push(`since the anchor: (${current.disp[b4] / 4}, ${current.disp[n + b4] / 4}) px`);
  el("hover").replaceChildren(...lines.flatMap((t) => [t, document.createElement("br")]));
});
let timer = null;
el("play").addEventListener("click", () => {
  if (timer) { clearInterval(timer); timer = null; el("play").textContent = "Play"; return; }
  el("play").textContent = "Pause";
  timer = setInterval(() => { slider.value = (+slider.value + 1) % data.frames.length; draw(); }, 1000 / Math.min(data.fps || 25, 15));
});
slider.max = data.frames.length - 1;
slider.addEventListener("input", draw);
addEventListener("resize", bars);
addEventListener("keydown", (e) => {
  const d = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
  if (d && e.target !== slider) { slider.value = +slider.value + d; draw(); }
});
el("title").textContent = data.title;
el("subtitle").textContent = data.subtitle;
el("timeline-note").textContent = data.timeline_note;
el("planes").tBodies[0].append(...data.planes.map((row, i) => {
  const tr = document.createElement("tr");
  row.forEach((v) => { const c = document.createElement(i ? "td" : "th"); c.textContent = v; tr.append(c); });
  return tr;
}));
// page.html#12:qp,mv1 opens row 12 with those layers on top; without, the first frame that has motion.
const [row, layers] = location.hash.slice(1).split(":");
const moving = data.frames.findIndex((f) => f.type === "P" || f.type === "B");
slider.value = row ? +row : Math.max(0, moving);
if (layers !== undefined) for (const [id] of OVER) el(`show-${id}`).checked = layers.split(",").includes(id);
draw();
