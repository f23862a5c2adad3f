//! The drawing as one HTML page to explore: pan, zoom, search, and filter by capability. Nothing is fetched.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::model::Drawing;
use super::svg::escape;

const STYLE: &str = "\
body{margin:0;font:14px system-ui,'Segoe UI',Helvetica,Arial,sans-serif;color:#1f2328;background:#fff}\
header{display:flex;flex-wrap:wrap;gap:12px;align-items:center;padding:10px 16px;border-bottom:1px solid #d1d9e0}\
h1{font-size:16px;margin:0 12px 0 0}\
input,select,button{font:inherit;padding:4px 8px;border:1px solid #d1d9e0;border-radius:6px;background:#fff}\
#view{overflow:hidden;height:calc(100vh - 56px);cursor:grab}\
#view svg{transform-origin:0 0;max-width:none}\
.dim{opacity:.12}\
.edge,.node{transition:opacity .12s}";

const SCRIPT: &str = r#"
const view = document.getElementById("view"), svg = view.querySelector("svg");
let x = 0, y = 0, scale = 1;
const show = () => { svg.style.transform = `translate(${x}px,${y}px) scale(${scale})`; };
const fit = () => {
  const box = svg.viewBox.baseVal;
  scale = Math.min(1, view.clientWidth / box.width, view.clientHeight / box.height);
  x = y = 0; show();
};
view.addEventListener("wheel", event => {
  event.preventDefault();
  const next = Math.min(4, Math.max(0.1, scale * Math.exp(-event.deltaY / 500)));
  const box = view.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  x = px - (px - x) * next / scale; y = py - (py - y) * next / scale; scale = next; show();
}, { passive: false });
view.addEventListener("pointerdown", event => { view.setPointerCapture(event.pointerId); view.style.cursor = "grabbing"; });
view.addEventListener("pointermove", event => { if (event.buttons) { x += event.movementX; y += event.movementY; show(); } });
view.addEventListener("pointerup", () => { view.style.cursor = "grab"; });
const nodes = [...svg.querySelectorAll(".node")], edges = [...svg.querySelectorAll(".edge")];
const capability = document.getElementById("capability"), search = document.getElementById("search");
const light = (names, lit) => {
  nodes.forEach(node => node.classList.toggle("dim", names !== null && !names.has(node.dataset.crate)));
  edges.forEach(edge => edge.classList.toggle("dim", names !== null && !lit(edge)));
};
const related = name => {
  const names = new Set([name]);
  for (const [here, there] of [["from", "to"], ["to", "from"]]) {
    const seen = new Set([name]), queue = [name];
    while (queue.length) {
      const at = queue.pop();
      for (const edge of edges) if (edge.dataset[here] === at && !seen.has(edge.dataset[there])) {
        seen.add(edge.dataset[there]); queue.push(edge.dataset[there]);
      }
    }
    seen.forEach(one => names.add(one));
  }
  return names;
};
const filter = () => {
  const wanted = capability.value, word = search.value.trim().toLowerCase();
  if (!wanted && !word) return light(null);
  const has = edge => !wanted || edge.dataset.capabilities.split(" ").includes(wanted);
  const fits = name => !word || name.toLowerCase().includes(word);
  const lit = edges.filter(edge => has(edge) && (fits(edge.dataset.from) || fits(edge.dataset.to)));
  const names = new Set(wanted ? [] : nodes.map(node => node.dataset.crate).filter(fits));
  lit.forEach(edge => { names.add(edge.dataset.from); names.add(edge.dataset.to); });
  light(names, edge => lit.includes(edge));
};
nodes.forEach(node => {
  node.addEventListener("pointerenter", () => { const names = related(node.dataset.crate); light(names, e => names.has(e.dataset.from) && names.has(e.dataset.to)); });
  node.addEventListener("pointerleave", filter);
});
capability.addEventListener("change", filter);
search.addEventListener("input", filter);
document.getElementById("fit").addEventListener("click", fit);
fit();
"#;

pub(super) fn page(drawing: &Drawing, svg: &str) -> String {
    let mut capabilities = BTreeSet::new();
    for link in &drawing.edges {
        for grant in link.grants.iter().chain(&link.denied) {
            capabilities.insert(grant.split(' ').next().unwrap_or_default());
        }
    }
    let mut options = String::from("<option value=\"\">every capability</option>");
    for name in capabilities {
        let _ = write!(options, "<option>{}</option>", escape(name));
    }
    let (crates, edges) = (drawing.crates.len(), drawing.edges.len());
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>Crates and grants</title>\n\
         <style>{STYLE}</style>\n<header><h1>Crates and grants</h1>\
         <label>Show <select id=\"capability\">{options}</select></label>\
         <label>Find <input id=\"search\" type=\"search\" placeholder=\"crate\"></label>\
         <button id=\"fit\" type=\"button\">Fit</button><span>{crates} crates, {edges} edges</span></header>\n\
         <div id=\"view\">{svg}</div>\n<script>{SCRIPT}</script>\n</html>\n"
    )
}
