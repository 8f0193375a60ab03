"use strict";
// What a page can do: copy a SMILES, and sort a table by a column.
document.documentElement.classList.add("js");

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(button.previousElementSibling);
    button.textContent = "press Ctrl-C";
  }
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}

function order(a, b) {
  const [x, y] = [a, b].map(cell => cell.dataset.value ?? cell.textContent.trim());
  if (!x || !y) return 0;
  return a.dataset.value === undefined ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
}

function sort(head) {
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.children) if (other.ariaSort) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = head.closest("table").tBodies[0];
  const cell = row => row.cells[head.cellIndex];
  const empty = row => (cell(row).dataset.value ?? cell(row).textContent.trim()) === "";
  const rows = [...body.rows].sort((a, b) => empty(a) - empty(b) || order(cell(a), cell(b)) * (down ? -1 : 1));
  body.append(...rows);
}

addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button?.dataset.copy !== undefined) copy(button);
  else if (button?.parentElement.ariaSort) sort(button.parentElement);
});
