// What all tables of all pages can do: be sorted by any column, and be copied as LaTeX, CSV or Markdown.
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

// ---- sorting -----------------------------------------------------------------------------------------------------------
const NUMBER = /^(?:< )?([+\u2212±-]?)(\d[\d,]*(?:\.\d+)?)/;

// A cell as what it is sorted by: the number that it begins with, or its words; null for a dash, which stays at the end.
function sortKey(text) {
  if (text === "" || text === "\u2013" || text === "·") return null;
  const found = NUMBER.exec(text);
  return found ? (found[1] === "\u2212" || found[1] === "-" ? -1 : 1) * Number(found[2].replaceAll(",", "")) : text;
}

const byWords = new Intl.Collator("en", { numeric: true });

// Compares two sort keys; direction is 1, or -1 for the largest first.
function compareKeys(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  return direction * (typeof a === "number" && typeof b === "number" ? a - b : byWords.compare(a, b));
}

// What a click makes of a column's order: ascending, then descending, then as the table came.
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

function showOrder(heads, column, order) {
  heads.forEach((head, place) => head.setAttribute("aria-sort", place === column ? order : "none"));
}

function sortRows(body, column, order) {
  body.inOrder ??= [...body.rows];
  const keyed = body.inOrder.map((row) => [sortKey(row.cells[column].textContent.trim()), row]);
  if (order !== "none") keyed.sort(([a], [b]) => compareKeys(a, b, order === "ascending" ? 1 : -1));
  body.append(...keyed.map(([, row]) => row));
}

// Puts a button into each head. Parts of a table (one tbody each) stay apart: each is sorted by itself.
function makeSortable(table, onSort) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = el("button", { type: "button", class: "sort" }, head.firstChild);
    button.addEventListener("click", () => {
      const order = NEXT[head.ariaSort ?? "none"];
      showOrder(heads, column, order);
      onSort(column, order);
    });
    head.prepend(button);
  });
  showOrder(heads, -1, "none");
}

for (const table of document.querySelectorAll("main table")) {
  if (table.tHead && table.querySelectorAll("tbody tr").length > 1)
    makeSortable(table, (column, order) => [...table.tBodies].forEach((body) => sortRows(body, column, order)));
}

// ---- copying -----------------------------------------------------------------------------------------------------------
const LATEX = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", "`": "\\textasciigrave{}" };
const inLatex = (text) => text.replace(/\s+/g, " ").replace(/[&%$#_{}]/g, "\\$&").replace(/\\(?![&%$#_{}])|[~^<>|`]/g, (sign) => LATEX[sign]);
const inMarkdown = (text) => text.replace(/\s+/g, " ").replace(/\\|[|<&*_`[\]#]/g, "\\$&");
const inCsv = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

// A table that this page makes itself, as text: columns are its heads, rows lists of texts. Tables of the report bring theirs.
const FORMATS = {
  LaTeX: (columns, rows) => ["% \\usepackage{booktabs}", `\\begin{tabular}{${"l".repeat(columns.length)}}`, "\\toprule",
    `${columns.map(inLatex).join(" & ")} \\\\`, "\\midrule", ...rows.map((row) => `{}${row.map(inLatex).join(" & ")} \\\\`), "\\bottomrule", "\\end{tabular}", ""].join("\n"),
  CSV: (columns, rows) => `${[columns, ...rows].map((row) => row.map(inCsv).join(",")).join("\n")}\n`,
  Markdown: (columns, rows) => `${[columns, columns.map(() => ":---"), ...rows].map((row, place) => `| ${row.map(place === 1 ? String : inMarkdown).join(" | ")} |`).join("\n")}\n`,
};

async function copyText(text, box) {
  box.querySelector(".copied")?.remove();
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {  // no leave to write to the clipboard, or a browser that gives a file none: copy a selection
    const shown = el("pre", { class: "copied" }, text);
    box.append(shown);
    getSelection().selectAllChildren(shown);
    const done = document.execCommand("copy");
    if (done) shown.remove();
    return done;
  }
}

function copyOnClick(button, status, text, box) {
  button.addEventListener("click", async () => {
    const done = await copyText(text(), box);
    status.textContent = done ? `${button.textContent} copied` : "marked: copy it with Ctrl+C";
  });
}

// Buttons that copy a table of this page's own; table() gives its [columns, rows] when one is pressed.
function copyButtons(what, table) {
  const status = el("span", { role: "status" });
  const box = el("div", { class: "copies" });
  const buttons = Object.entries(FORMATS).map(([name, write]) => {
    const button = el("button", { type: "button", "aria-label": `Copy ${what} as ${name}` }, name);
    copyOnClick(button, status, () => write(...table()), box);
    return button;
  });
  box.append(el("span", { class: "buttons" }, "Copy ", ...buttons, status));
  return box;
}

// A table of the report has its texts behind it in the page.
for (const box of document.querySelectorAll(".copies")) {
  const [buttons, status] = [box.querySelector(".buttons"), box.querySelector("[role=status]")];
  buttons.hidden = false;
  buttons.querySelectorAll("button").forEach((button, place) => copyOnClick(button, status, () => box.querySelectorAll("pre")[place].textContent, box));
}
