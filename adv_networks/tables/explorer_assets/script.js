"use strict";
// Tabs, filters, sorting, what a cell says when pointed at, and curves. Without this script the page shows everything at once.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = (id) => JSON.parse(document.getElementById(id).textContent);
  const make = (name, properties, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };
  const sections = all("section"), chosen = { tab: null, dataset: "" };
  const filter = document.getElementById("filter"), verdict = document.getElementById("verdict");

  function buttons(nav, values, key, titles) {
    for (const value of values) {
      const button = make("button", { type: "button", textContent: titles[value] || value });
      button.dataset.value = value;
      button.addEventListener("click", () => choose(key, value));
      nav.append(button);
    }
  }

  function choose(key, value) {
    chosen[key] = value;
    if (key === "tab") {
      const found = new Set(sections.filter((own) => own.dataset.tab === value).map((own) => own.dataset.dataset));
      all("#datasets button").forEach((button) => { button.hidden = button.dataset.value !== "" && !found.has(button.dataset.value); });
      if (!found.has(chosen.dataset)) chosen.dataset = "";
    }
    for (const [nav, own] of [["tabs", chosen.tab], ["datasets", chosen.dataset]])
      all(`#${nav} button`).forEach((button) => button.setAttribute("aria-pressed", button.dataset.value === own));
    for (const section of sections)
      section.hidden = section.dataset.tab !== chosen.tab || (chosen.dataset !== "" && section.dataset.dataset !== chosen.dataset);
    const verdicts = new Set(all("section:not([hidden]) td[data-verdict]").map((cell) => cell.textContent));
    verdict.replaceChildren(make("option", { value: "", textContent: "every verdict" }),
      ...[...verdicts].sort().map((text) => make("option", { value: text, textContent: text })));
    verdict.hidden = verdicts.size === 0;
    history.replaceState(null, "", `#${encodeURIComponent(chosen.tab)}`);
    apply();
    draw();
  }

  function apply() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of all("section:not([hidden]) tbody tr")) {
      const text = row.textContent.toLowerCase(), own = row.querySelector("td[data-verdict]");
      row.hidden = !words.every((word) => text.includes(word)) || (verdict.value !== "" && own !== null && own.textContent !== verdict.value);
    }
  }

  const value = (cell) => cell === undefined ? "" : cell.dataset.measured ?? cell.textContent;
  function compare(a, b) {
    const [x, y] = [parseFloat(a), parseFloat(b)];
    return isNaN(x) || isNaN(y) ? a.localeCompare(b) : x - y;
  }
  function sort(header) {
    const descends = header.getAttribute("aria-sort") !== "descending", body = header.closest("table").tBodies[0];
    all("th", header.parentNode).forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", descends ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => compare(value(a.cells[header.cellIndex]), value(b.cells[header.cellIndex])));
    body.append(...(descends ? rows.reverse() : rows));
  }
  for (const header of all("thead th")) {
    header.tabIndex = 0;
    header.addEventListener("click", () => sort(header));
    header.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(header); });
  }

  const tip = document.getElementById("tip"), runs = data("runs");
  function tell(cell) {
    const own = cell.dataset, lines = [];
    if (own.low) lines.push(["95% interval", `${own.low} to ${own.high}`]);
    if (own.published) lines.push(["published", own.published], ["difference", own.difference]);
    if (own.images) lines.push(["images", `${own.images}${own.data === "complete" ? "" : ` (${own.data})`}`]);
    for (const name of own.run.split(" ")) {
      lines.push(["run", name]);
      for (const entry of Object.entries(runs[name] || {})) lines.push(entry);
    }
    tip.replaceChildren(make("dl", {}, ...lines.flatMap(([title, text]) => [make("dt", { textContent: title }), make("dd", { textContent: text })])));
    tip.hidden = false;
    const place = cell.getBoundingClientRect(), width = tip.offsetWidth;
    tip.style.left = `${scrollX + Math.max(8, Math.min(place.left, document.documentElement.clientWidth - width - 8))}px`;
    tip.style.top = `${scrollY + place.bottom + 6}px`;
  }
  for (const cell of all("td[data-run]")) {
    for (const event of ["pointerenter", "focus", "click"]) cell.addEventListener(event, () => tell(cell));
    for (const event of ["pointerleave", "blur"]) cell.addEventListener(event, () => { tip.hidden = true; });
  }

  // Told apart by the colour-blind, and in print by their dashes.
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000", "#e69f00"], dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
  const curves = data("curves");
  function draw() {
    for (const place of all("section:not([hidden]) .chart:empty")) {
      const curve = curves[Number(place.dataset.curve)];
      const x = [...new Set(curve.series.flatMap((series) => series.points.map((point) => point[0])))].sort((a, b) => a - b);
      const lines = curve.series.map((series) => {
        const by = new Map(series.points);
        return x.map((step) => by.get(step) ?? null);
      });
      const show = (_, number) => number == null ? "–" : String(Math.round(number * 100) / 100);
      new uPlot({
        width: Math.min(900, place.clientWidth), height: 320, cursor: { focus: { prox: 24 } }, focus: { alpha: 0.25 },
        scales: { x: { time: false }, y: { range: [0, 100] } }, axes: [{ label: curve.x }, { label: curve.y, size: 55 }],
        series: [{ label: curve.x, value: show }, ...curve.series.map((series, number) => ({
          label: series.name, value: show, stroke: colours[number % colours.length], width: 2, spanGaps: true,
          dash: dashes[Math.floor(number / colours.length + number) % dashes.length],
        }))],
      }, [x, ...lines], place);
    }
  }

  const titles = data("titles"), known = Object.keys(titles);
  buttons(document.getElementById("tabs"), known, "tab", titles);
  const datasets = [...new Set(sections.map((section) => section.dataset.dataset).filter(Boolean))];
  buttons(document.getElementById("datasets"), ["", ...datasets], "dataset", { "": "all data sets" });
  filter.addEventListener("input", apply);
  verdict.addEventListener("change", apply);
  document.getElementById("colour").addEventListener("change", (event) => document.body.classList.toggle("by-accuracy", event.target.value === "accuracy"));
  all(".needs-script").forEach((node) => { node.hidden = false; });
  const asked = decodeURIComponent(location.hash.slice(1));
  choose("tab", known.includes(asked) ? asked : known[0]);
})();
