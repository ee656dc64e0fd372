"use strict";
// Sorts and filters the tables of runs, and copies commands. Without it the pages show everything in their first order.

const collator = new Intl.Collator("en", { numeric: true });

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.sort ?? cell.textContent;
}

function sortBy(head) {
  const table = head.closest("table");
  const column = head.cellIndex;
  const before = head.getAttribute("aria-sort");
  const first = head.classList.contains("accuracy") ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = before === first ? other : first;
  const numeric = table.tBodies[0].rows[0]?.cells[column].dataset.sort !== undefined;
  const compare = numeric ? (a, b) => a - b : collator.compare;
  const rows = Array.from(table.tBodies[0].rows, (row) => [keyOf(row, column), row]);
  const absent = (key) => key === "" || key === "–"; // stays below in both orders
  rows.sort(([a], [b]) => absent(a) - absent(b) || (order === "ascending" ? compare(a, b) : compare(b, a)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
  for (const one of head.parentNode.cells) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
}

function filterOf(form) {
  const table = document.getElementById(form.dataset.filters);
  const output = form.querySelector("output");
  const selects = Array.from(form.querySelectorAll("select"));
  const values = new Map(); // what each filter compares, and the text that the search reads, of each row
  const number = new Intl.NumberFormat("en");
  const read = (row, name) => {
    if (name === "shots") return row.dataset.shots;
    const cell = row.querySelector(`td.${name}`);
    return cell.dataset.filter ?? cell.textContent;
  };
  return () => {
    const chosen = selects.filter((select) => select.value);
    const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      if ((chosen.length || words.length) && !values.has(row)) {
        const found = Object.fromEntries(selects.map(({ name }) => [name, read(row, name)]));
        values.set(row, { ...found, search: row.textContent.toLowerCase() });
      }
      const of = values.get(row);
      const visible = chosen.every(({ name, value }) => of[name] === value) && words.every((word) => of.search.includes(word));
      if (row.hidden === visible) row.hidden = !visible;
      shown += visible;
    }
    output.value = `${number.format(shown)} of ${number.format(table.tBodies[0].rows.length)} runs`;
  };
}

async function copy(button) {
  const code = button.parentNode.querySelector("code");
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    document.execCommand("copy"); // where a page from a disk may not use the clipboard
  }
  button.textContent = "copied";
  setTimeout(() => (button.textContent = "copy"), 2000);
}

for (const form of document.querySelectorAll("form[data-filters]")) {
  const apply = filterOf(form);
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("pageshow", () => form.elements.search.value + [...form.querySelectorAll("select")].map((one) => one.value).join("") && apply());
}
document.addEventListener("click", (event) => {
  const head = event.target.closest("table.runs th button")?.closest("th");
  if (head) sortBy(head);
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
