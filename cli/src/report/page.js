"use strict";
const report = JSON.parse(document.getElementById("data").textContent);
const crates = new Map(report.crates.map(one => [one.krate, one]));
const severity = new Map(report.capabilities.map(one => [one.name, one]));
const out = new Map(), into = new Map();
for (const name of crates.keys()) { out.set(name, []); into.set(name, []); }
const edges = report.edges.filter(edge => crates.has(edge.from) && crates.has(edge.to));
for (const edge of edges) { out.get(edge.from).push(edge); into.get(edge.to).push(edge); }

const $ = id => document.getElementById(id);
const capability = $("capability"), search = $("search"), others = $("states");
const state = { crate: null, edge: null };
/* Most crates that are drawn at a time: more than this nobody can read. */
const DRAWN = 70;

/* What comes from source is only ever put in as text. */
const make = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.filter(child => child !== null));
  return node;
};
const draw = (tag, attributes, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
};

const visible = reach => others.checked || reach.state === "used";
const wanted = reach => !capability.value || reach.capability === capability.value;
const uses = crate => crate.uses.filter(visible);
const brings = edge => edge.brings.filter(visible);
const carries = edge => capability.value !== "" && brings(edge).some(wanted);
const rank = name => ["low", "moderate", "high", "total"].indexOf(severity.get(name)?.severity);
const short = name => { const crate = crates.get(name); return crate ? crate.name : name; };

const chip = (reach, note) => {
  const about = severity.get(reach.capability) || { severity: "low", meaning: "" };
  const marks = { used: "", compiled: " (not used)", "other-cfg": " (other cfg)" };
  return make("button", {
    type: "button", class: `chip ${about.severity}${reach.state === "used" ? "" : " quiet"}`, title: about.meaning,
    onclick: () => { capability.value = reach.capability; show(); },
  }, reach.capability + marks[reach.state] + (note || ""));
};

const way = reach => {
  const list = make("ol", { class: "way" });
  for (const place of reach.way) {
    const at = place.file ? ` ${place.file}${place.line ? `:${place.line}` : ""}` : " (passed on)";
    list.append(make("li", {}, `${short(place.krate)}: ${place.item}`, make("span", { class: "soft" }, at)));
  }
  list.append(make("li", {}, reach.what || "found in its targets"));
  return list;
};

/* ----- the list */

const fits = crate => !search.value || crate.krate.toLowerCase().includes(search.value.trim().toLowerCase());
const list = () => {
  const nav = $("crates");
  nav.replaceChildren();
  const groups = [
    ["Members", crate => crate.member],
    ["Reach something themselves", crate => !crate.member && uses(crate).length > 0],
    ["Reach nothing themselves", crate => !crate.member && uses(crate).length === 0],
  ];
  for (const [title, belongs] of groups) {
    const shown = report.crates.filter(crate => belongs(crate) && fits(crate) && (!capability.value || uses(crate).some(wanted)));
    if (!shown.length) continue;
    nav.append(make("h3", {}, `${title} (${shown.length})`));
    for (const crate of shown.sort((a, b) => a.name.localeCompare(b.name))) {
      const names = uses(crate).map(reach => reach.capability).sort((a, b) => rank(b) - rank(a));
      nav.append(make("button", {
        type: "button", "aria-current": String(crate.krate === state.crate && !state.edge), onclick: () => choose(crate.krate),
      }, crate.name, " ", make("span", { class: "version" }, crate.crate_version),
      make("span", { class: "dots" }, names.join(", "))));
    }
  }
  if (!nav.children.length) nav.append(make("h3", {}, "No crate fits"));
};

/* ----- the graph */

const near = centre => {
  const kept = new Set([centre]);
  for (const [next, end] of [[out, "to"], [into, "from"]]) {
    let ring = [centre];
    for (let depth = 0; depth < 2 && ring.length; depth++) {
      const wider = [];
      for (const name of ring) for (const edge of next.get(name)) {
        if (!kept.has(edge[end]) && kept.size < DRAWN) { kept.add(edge[end]); wider.push(edge[end]); }
      }
      ring = wider;
    }
  }
  return edges.filter(edge => kept.has(edge.from) && kept.has(edge.to));
};

const carrying = centre => {
  const all = edges.filter(carries);
  if (!centre) return all;
  const kept = new Set();
  for (const [here, there] of [["from", "to"], ["to", "from"]]) {
    const seen = new Set([centre]), queue = [centre];
    while (queue.length) {
      const at = queue.shift();
      for (const edge of all) if (edge[here] === at) {
        kept.add(edge);
        if (!seen.has(edge[there])) { seen.add(edge[there]); queue.push(edge[there]); }
      }
    }
  }
  return kept.size ? all.filter(edge => kept.has(edge)) : all;
};

const layers = (names, shown) => {
  const depth = new Map(), next = new Map(names.map(name => [name, []])), waits = new Map(names.map(name => [name, 0]));
  for (const edge of shown) { next.get(edge.from).push(edge.to); waits.set(edge.to, waits.get(edge.to) + 1); }
  const queue = names.filter(name => waits.get(name) === 0);
  queue.forEach(name => depth.set(name, 0));
  while (queue.length) {
    const at = queue.shift();
    for (const to of next.get(at)) {
      depth.set(to, Math.max(depth.get(to) || 0, depth.get(at) + 1));
      waits.set(to, waits.get(to) - 1);
      if (waits.get(to) === 0) queue.push(to);
    }
  }
  const columns = [];
  for (const name of names) (columns[depth.get(name) || 0] ||= []).push(name);
  const filled = columns.filter(Boolean);
  const row = new Map();
  const number = () => filled.forEach(column => column.forEach((name, at) => row.set(name, at - column.length / 2)));
  number();
  for (let sweep = 0; sweep < 8; sweep++) {
    for (const column of filled) {
      const middle = new Map(column.map(name => {
        const ends = shown.filter(edge => edge.from === name || edge.to === name).map(edge => row.get(edge.from === name ? edge.to : edge.from));
        return [name, ends.length ? ends.reduce((a, b) => a + b, 0) / ends.length : 0];
      }));
      column.sort((a, b) => middle.get(a) - middle.get(b));
    }
    number();
  }
  return filled;
};

const picture = () => {
  const place = $("drawing");
  place.replaceChildren();
  const shown = capability.value ? carrying(state.crate) : state.crate ? near(state.crate) : [];
  let names = [...new Set(shown.flatMap(edge => [edge.from, edge.to]))];
  if (state.crate && !names.includes(state.crate)) names.push(state.crate);
  const all = names.length;
  if (names.length > 3 * DRAWN) names = names.slice(0, 3 * DRAWN);
  const drawn = shown.filter(edge => names.includes(edge.from) && names.includes(edge.to));
  const about = capability.value && severity.get(capability.value);
  place.append(make("p", {}, about
    ? `${capability.value}: ${about.meaning} Arrows go from consumer to dependency; a red frame marks a crate whose own code uses it.`
    : "Consumers on the left, dependencies on the right. Choose a capability to see only the edges that bring it."));
  if (names.length < all) place.append(make("p", {}, `${names.length} of ${all} crates are drawn; choose a crate on the left to see what is near it.`));
  if (!names.length) { place.append(make("p", {}, "No edge brings it.")); return; }
  const columns = layers(names, drawn), at = new Map(), height = 30, gap = 12;
  const width = name => Math.max(70, short(name).length * 8 + 22);
  let x = 14;
  const tall = Math.max(...columns.map(column => column.length)) * (height + gap);
  for (const column of columns) {
    const wide = Math.max(...column.map(width));
    let y = 10 + (tall - column.length * (height + gap)) / 2;
    for (const name of column) { at.set(name, { x, y, w: width(name) }); y += height + gap; }
    x += wide + 64;
  }
  const svg = draw("svg", { width: x, height: tall + 20, role: "img" });
  svg.append(draw("defs", {}, draw("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
    draw("path", { d: "M0 0L8 4L0 8z", fill: "context-stroke" }))));
  for (const edge of drawn) {
    const from = at.get(edge.from), to = at.get(edge.to);
    const x1 = from.x + from.w, y1 = from.y + height / 2, x2 = to.x - 2, y2 = to.y + height / 2, bend = Math.max(40, (x2 - x1) / 2);
    const denied = brings(edge).some(one => one.granted === false && wanted(one));
    const wire = draw("path", {
      d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`, "marker-end": "url(#arrow)",
      class: `wire${carries(edge) ? " carries" : ""}${denied ? " denied" : ""}`, onclick: () => chooseEdge(edge), style: "cursor:pointer",
    });
    const title = draw("title", {});
    title.textContent = `${short(edge.from)} -> ${short(edge.to)}: ${brings(edge).map(one => one.capability).join(", ") || "nothing"}`;
    wire.append(title);
    svg.append(wire);
  }
  for (const name of names) {
    const box = at.get(name), crate = crates.get(name);
    const source = capability.value && uses(crate).some(wanted);
    const label = draw("text", { x: box.x + 11, y: box.y + 20 });
    label.textContent = crate.name;
    const title = draw("title", {});
    title.textContent = `${name}: ${uses(crate).map(one => one.capability).join(", ") || "nothing by itself"}`;
    svg.append(draw("g", {
      class: `node${crate.member ? " member" : ""}${name === state.crate ? " chosen" : ""}${source ? " source" : ""}`, onclick: () => choose(name),
    }, draw("rect", { class: "box", x: box.x, y: box.y, width: box.w, height, rx: 6 }), label, title));
  }
  place.append(svg);
};

/* ----- the detail */

const linkTo = edge => {
  const button = make("button", { type: "button", class: "link", onclick: () => chooseEdge(edge) }, `${short(edge.from)} → ${short(edge.to)}`);
  const chips = brings(edge).filter(wanted).map(one => chip(one, one.granted === false ? " not granted" : ""));
  return make("div", {}, button, edge.build ? make("span", { class: "soft" }, " build") : null, " ", ...chips);
};

const reaches = (list, place) => {
  const sorted = [...list].sort((a, b) => rank(b.capability) - rank(a.capability));
  for (const one of sorted.filter(wanted).concat(sorted.filter(one => !wanted(one)))) {
    const head = make("summary", {}, chip(one), one.granted === false ? make("span", { class: "denied" }, " not granted") : null);
    place.append(make("details", capability.value && wanted(one) ? { open: "" } : {}, head, way(one)));
  }
};

const detail = () => {
  const place = $("detail");
  place.replaceChildren();
  place.scrollTop = 0;
  if (state.edge) {
    const edge = state.edge;
    place.append(make("h2", {}, make("button", { type: "button", class: "link", onclick: () => choose(edge.from) }, short(edge.from)), " → ",
      make("button", { type: "button", class: "link", onclick: () => choose(edge.to) }, short(edge.to))));
    place.append(make("h3", {}, "What it brings"));
    if (!brings(edge).length) place.append(make("p", { class: "soft" }, "Nothing."));
    reaches(brings(edge), place);
  } else if (state.crate) {
    const crate = crates.get(state.crate);
    place.append(make("h2", {}, crate.name, " ", make("span", { class: "soft" }, crate.crate_version)));
    const facts = [];
    if (crate.root) facts.push("a root: begins with what the workspace holds");
    else if (crate.member) facts.push("a member of the workspace");
    if (crate.build_script) facts.push("has a build script");
    if (crate.proc_macro) facts.push("runs inside the compiler");
    facts.push(`${crate.unsafe_memory} places of unsafe code handle memory, ${crate.unsafe_authority} reach authority`);
    if (crate.not_analysed) facts.push(`${crate.not_analysed} files were not analysed`);
    place.append(make("p", { class: "soft" }, facts.join("; ") + "."));
    place.append(make("h3", {}, "Its own code reaches"));
    if (!uses(crate).length) place.append(make("p", { class: "soft" }, "Nothing."));
    reaches(uses(crate), place);
    const shown = edge => capability.value ? carries(edge) : brings(edge).length > 0;
    const below = out.get(state.crate).filter(shown), above = into.get(state.crate).filter(edge => !capability.value || carries(edge));
    if (below.length) place.append(make("h3", {}, "Over its edges"), ...below.map(linkTo));
    if (above.length) place.append(make("h3", {}, "Its consumers"), ...above.map(linkTo));
  }
  if (report.findings.length) {
    place.append(make("h3", {}, `Findings of check (${report.findings.length})`));
    for (const finding of report.findings.slice(0, 100)) {
      place.append(make("div", { class: `finding ${finding.severity}` }, make("code", {}, finding.code), ` ${finding.message}`));
    }
  }
};

const show = () => { list(); picture(); detail(); };
const choose = name => { state.crate = name; state.edge = null; show(); };
const chooseEdge = edge => { state.edge = edge; show(); };

const many = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
$("title").textContent = `Capabilities of ${report.workspace}`;
document.title = $("title").textContent;
const reaching = report.crates.filter(crate => crate.uses.some(reach => reach.state === "used")).length;
const denied = report.findings.filter(finding => finding.severity === "error").length;
$("totals").textContent = `${many(report.crates.length, "crate")}, ${reaching} reach something themselves; ${many(edges.length, "edge")}; `
  + `${many(report.lines, "line")} read; ${report.declared ? (denied ? `${many(denied, "finding")} deny` : "all that is reached is granted") : "nothing is declared yet"}`;
for (const one of report.capabilities) capability.append(make("option", { value: one.name }, one.name));
capability.addEventListener("change", show);
search.addEventListener("input", list);
others.addEventListener("change", show);
document.addEventListener("keydown", event => { if (event.key === "Escape") { capability.value = ""; search.value = ""; show(); } });
const first = report.crates.find(crate => crate.root) || report.crates.find(crate => crate.member) || report.crates[0];
if (location.hash.length > 1) {
  const [name, chosen] = decodeURIComponent(location.hash.slice(1)).split(" ");
  if (crates.has(name)) state.crate = name;
  if (chosen && severity.has(chosen)) capability.value = chosen;
}
if (!state.crate && first) state.crate = first.krate;
show();
