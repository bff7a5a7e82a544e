// Links the map with the table, filters both, and makes each one stop of the Tab key.
"use strict";
(() => {
  const root = document.querySelector(".cubie-plan");
  const all = (selector) => [...root.querySelectorAll(selector)];
  const tiles = all(".tile"), rows = all("#buffers tbody tr");
  const byName = new Map(rows.map((row) => [row.dataset.name, row]));
  const details = root.querySelector(".details");
  const part = root.querySelector("#part"), words = root.querySelector("#words");
  const count = root.querySelector("#count");
  const headings = all("#buffers thead th").map((cell) => cell.textContent);
  const hint = details.textContent;
  root.classList.add("live");

  const element = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });

  function show(name) {
    for (const item of [...tiles, ...rows]) item.classList.toggle("on", item.dataset.name === name);
    const row = byName.get(name);
    details.replaceChildren();
    if (!row) { details.textContent = hint; return; }
    [...row.cells].forEach((cell, i) => {
      const text = cell.textContent.trim();
      if (!text || headings[i] === "#") return;
      const item = element("span", "");
      item.append(element("em", headings[i] + " "), element(headings[i] === "buffer" ? "b" : "span", text));
      details.append(item);
    });
  }

  const wanted = (item) => {
    const inPart = !part.value || item.dataset.part === part.value || item.dataset.part.startsWith(part.value + ".");
    return inPart && item.dataset.name.toLowerCase().includes(words.value.trim().toLowerCase());
  };

  // One item of a group can be reached by Tab; the arrow keys go to the others.
  function rove(items) {
    const open = items.filter(wanted);
    const stop = open.find((item) => item.getAttribute("tabindex") === "0") || open[0];
    for (const item of items) item.setAttribute("tabindex", item === stop ? "0" : "-1");
  }

  function filter() {
    for (const tile of tiles) {
      tile.classList.toggle("off", !wanted(tile));
      tile.setAttribute("aria-hidden", String(!wanted(tile)));
    }
    for (const row of rows) row.hidden = !wanted(row);
    groups.forEach(rove);
    count.textContent = `${rows.filter(wanted).length} of ${rows.length} buffers`;
  }

  const groups = [...all(".map").map((map) => [...map.querySelectorAll(".tile")]), rows];
  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  for (const items of groups) {
    for (const item of items) {
      item.addEventListener("mouseenter", () => show(item.dataset.name));
      item.addEventListener("mouseleave", () => show(root.contains(document.activeElement) ? document.activeElement.dataset.name : ""));
      item.addEventListener("focus", () => {
        for (const other of items) other.setAttribute("tabindex", other === item ? "0" : "-1");
        show(item.dataset.name);
      });
      item.addEventListener("blur", () => show(""));
      item.addEventListener("keydown", (event) => {
        const open = items.filter(wanted), at = open.indexOf(item);
        let next = null;
        if (event.key in STEPS) next = open[Math.min(open.length - 1, Math.max(0, at + STEPS[event.key]))];
        if (event.key === "Home") next = open[0];
        if (event.key === "End") next = open[open.length - 1];
        if (event.key === "Escape") item.blur();
        if (event.key === "Enter") {
          const others = items === rows ? tiles : rows;
          next = others.find((other) => other.dataset.name === item.dataset.name && wanted(other)) || null;
        }
        if (next) { event.preventDefault(); next.focus(); }
      });
    }
  }
  part.addEventListener("change", filter);
  words.addEventListener("input", filter);
  filter();
})();
