"use strict";
// Sorting: the head of a column becomes a button; the order goes up, then down. Missing numbers stay last.
(function () {
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  function keys(rows, column) {
    const numeric = rows.some((row) => row.cells[column].hasAttribute("data-v"));
    return rows.map((row) => {
      const cell = row.cells[column];
      if (!numeric) return cell.textContent.trim();
      const text = cell.getAttribute("data-v");
      return text === null || text === "" ? null : text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);
    });
  }

  function compare(a, b, sign) {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? words.compare(a, b) : a < b ? -1 : a > b ? 1 : 0);
  }

  function sort(table, head, column) {
    const down = head.getAttribute("aria-sort") === "ascending";
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    const found = keys(rows, column);
    const order = rows.map((row, place) => place);
    order.sort((i, j) => compare(found[i], found[j], down ? -1 : 1) || i - j);
    body.append(...order.map((place) => rows[place]));
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
      const first = table.tBodies[0].rows[0];
      if (first && first.cells[column].classList.contains("words")) head.classList.add("words");
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head, column));
    });
  }
})();
