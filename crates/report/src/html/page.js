"use strict";
// Filters and sorts what is there; the page says everything without it.
const controls = document.querySelector(".controls");
const table = document.querySelector("#findings");
if (controls && table) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const [search, level, side, fix, shown] = ["search", "level", "side", "fix", "shown"].map((id) => document.getElementById(id));
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const isWanted = Number(row.dataset.level) >= Number(level.value)
        && (!side.value || row.dataset.side === side.value)
        && (!fix.checked || row.dataset.fix === "1")
        && words.every((word) => texts.get(row).includes(word));
      row.hidden = !isWanted;
      count += isWanted ? 1 : 0;
    }
    shown.textContent = count === rows.length ? `${count} findings` : `${count} of ${rows.length} findings`;
  };
  const sort = (heading, index) => {
    const isDown = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", isDown ? "descending" : "ascending");
    const key = (row) => row.cells[index].dataset.key ?? row.cells[index].textContent.trim();
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    const sorted = rows.map((row, place) => [key(row), place, row]);
    sorted.sort((a, b) => (isDown ? -1 : 1) * compare(a[0], b[0]) || a[1] - b[1]);
    body.append(...sorted.map(([, , row]) => row));
  };
  Array.from(table.tHead.rows[0].cells).forEach((heading, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    button.addEventListener("click", () => sort(heading, index));
    heading.replaceChildren(button);
  });
  controls.addEventListener("input", filter);
  controls.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
    if (event.key === "/" && !isTyping) {
      event.preventDefault();
      search.focus();
    }
  });
  controls.hidden = false;
  filter();
}
