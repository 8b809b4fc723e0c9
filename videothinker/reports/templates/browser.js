"use strict";
// The browser of questions: filters, a list of what they leave, and the chosen question. What is chosen stands in the address.
const byId = (id) => document.getElementById(id);
let data;  // what the page holds: browser.py, browser_data

const PAGE = 50;
const form = byId("filters");
const list = byId("list");
let matches = [];  // the questions that the filters leave, in the list's order
let chosen = -1;  // place in matches
let first = -1;  // place in matches of the first question in the list, which shows a page of them; -1: it has to be drawn anew

// ---- filters -----------------------------------------------------------------------------------------------------------
const isAsked = (reply) => reply !== null && reply.status !== "decode_error";
const OUTCOMES = {
  right: (reply) => isAsked(reply) && reply.right,
  "not-right": (reply) => isAsked(reply) && !reply.right,
  wrong: (reply) => isAsked(reply) && !reply.right && reply.chosen !== null,
  observer: (reply, question) => isAsked(reply) && !reply.right && question.observer !== null && reply.chosen === question.observer,
  unread: (reply) => isAsked(reply) && reply.chosen === null,
  truncated: (reply) => reply?.status === "truncated",
  "no-clip": (reply) => reply?.status === "decode_error",
  "not-asked": (reply) => reply === null,
};

function textOf(question) {
  question.words ??= searchable([question.id, question.text, ...question.options, ...question.replies.map((reply) => reply?.reply ?? "")].join("\n"));
  return question.words;
}

// The conditions that a question has to meet, from the form's controls: [whether it does, ...].
function conditions(wanted) {
  const found = [];
  for (const [name, value] of Object.entries(wanted)) {
    const [kind, which] = [name.split(":", 1)[0], name.slice(name.indexOf(":") + 1)];
    if (value === "") continue;
    if (kind === "facet") found.push((question) => question.facets[which] === value);
    else if (kind === "run") found.push((question) => OUTCOMES[value](question.replies[data.runs.indexOf(which)], question));
    else if (name === "any") found.push((question) => question.replies.some((reply) => OUTCOMES[value](reply, question)));
    else if (name === "category") found.push((question) => categoryOf(question, wanted.rule) === value);
    else if (name === "split") found.push((question) => question.split === value);
    else if (name === "disagree") found.push((question) => new Set(question.replies.filter(isAsked).map((reply) => reply.right)).size > 1);
    else if (name === "rules") found.push((question) => new Set(question.categories.filter((category) => category !== null)).size > 1);
    else if (name === "film") found.push((question) => Boolean(data.scenes[question.scene]?.film?.strip));
  }
  const terms = termsOf(wanted.search);
  if (terms.length) found.push((question) => terms.every((term) => findTerm(textOf(question), term) >= 0));
  return found;
}

// kept: the question that stays chosen if it is among those that fit.
function filter(kept = matches[chosen]) {
  const needed = conditions(Object.fromEntries(new FormData(form)));
  matches = data.questions.filter((question) => needed.every((holds) => holds(question)));
  sortMatches();
  const [n, total] = [matches.length, data.questions.length].map((number) => number.toLocaleString("en"));
  byId("found").textContent = n === total ? `${total} questions` : `${n} of ${total} questions`;
  showShares();
  first = -1;
  choose(matches.length ? Math.max(0, matches.indexOf(kept)) : -1);
}

// ---- the list ----------------------------------------------------------------------------------------------------------
const rule = () => form.elements.rule?.value;
const base = () => data.runs.indexOf(form.elements.base?.value);
const heads = [...byId("questions").tHead.rows[0].cells];
let sorted = { column: -1, order: "none" };

// What the list's columns are sorted by: the id, the category, and the verdict on each checkpoint's reply.
function keyOf(question, column) {
  const first = data.rules.length ? 2 : 1;
  if (column === 0) return question.id;
  return column < first ? categoryOf(question, rule()) : VERDICTS.indexOf(verdict(question.replies[column - first]));
}

function sortMatches() {
  if (sorted.order === "none") return;
  const direction = sorted.order === "ascending" ? 1 : -1;
  const keyed = matches.map((question) => [keyOf(question, sorted.column), question]);
  matches = keyed.sort(([a], [b]) => compareKeys(a, b, direction)).map(([, question]) => question);
}

// The share of a checkpoint's replies to the questions left that are right, as percentages are written everywhere.
function showShares() {
  data.runs.forEach((_, i) => {
    const asked = matches.map((question) => question.replies[i]).filter(isAsked);
    const right = asked.filter((reply) => reply.right).length;
    heads[heads.length - data.runs.length + i].querySelector("small").textContent = asked.length ? `${((100 * right) / asked.length).toFixed(1)} % right` : "–";
  });
}

const replyCell = (reply) => {
  const { sign, name, kind } = verdict(reply);
  const said = isAsked(reply) && reply.chosen !== null ? spread(reply.chosen) : "";
  return el("td", { class: kind, title: name }, el("span", { role: "img", "aria-label": name }, sign), said ? ` ${said}` : "");
};

function row(question, index) {
  const button = el("button", { type: "button" }, el("span", { class: "id" }, question.id), " ", el("span", { class: "text" }, question.text));
  button.addEventListener("click", () => choose(index));
  return el("tr", {}, el("th", { scope: "row" }, button),
    ...(data.rules.length ? [el("td", {}, tag(categoryOf(question, rule())) ?? "")] : []), ...question.replies.map(replyCell));
}

function drawList() {
  list.replaceChildren(...matches.slice(first, first + PAGE).map((question, i) => row(question, first + i)));
  const last = Math.min(first + PAGE, matches.length);
  byId("page").textContent = matches.length ? `${(first + 1).toLocaleString("en")} to ${last.toLocaleString("en")}` : "";
  byId("earlier").disabled = first === 0;
  byId("later").disabled = last === matches.length;
  byId("list-side").querySelector(".scroll").scrollTop = 0;
}

// All questions that the filters leave, as a table to copy.
const foundTable = () => [
  ["Question", "Text", ...(data.rules.length ? ["Category"] : []), "Correct", ...data.runs.flatMap((name) => [name, `${name} answers`])],
  matches.map((question) => [question.id, question.text, ...(data.rules.length ? [categoryOf(question, rule()) ?? ""] : []), spread(question.gold),
    ...question.replies.flatMap((reply) => [verdict(reply).name, isAsked(reply) && reply.chosen !== null ? spread(reply.chosen) : ""])]),
];

// ---- the chosen question -----------------------------------------------------------------------------------------------
function showQuestion() {
  const detail = byId("detail");
  detail.replaceChildren(...(chosen < 0 ? [el("p", {}, "No question fits these filters.")] : card(matches[chosen], 3, rule(), base())));
  highlight(byId("browser"), termsOf(form.elements.search.value));
}

// Shows the question at a place in matches, and the page of the list that it is on; -1: there is none.
function choose(index, focus = false) {
  chosen = index;
  const wanted = Math.max(0, Math.floor(chosen / PAGE) * PAGE);
  if (wanted !== first) {
    first = wanted;
    drawList();
  }
  list.querySelector("[aria-current]")?.removeAttribute("aria-current");
  const current = list.rows[chosen - first];
  if (current) {
    current.setAttribute("aria-current", "true");
    reveal(current);
    if (focus) current.querySelector("button").focus({ preventScroll: true });
  }
  showQuestion();
  writeAddress();
}

// Scrolls the list, and not the page, until a row is in sight below the heads.
function reveal(one) {
  const box = one.closest(".scroll");
  const [row, view] = [one.getBoundingClientRect(), box.getBoundingClientRect()];
  const top = view.top + byId("questions").tHead.offsetHeight;
  if (row.top < top) box.scrollTop -= top - row.top;
  else if (row.bottom > view.bottom) box.scrollTop += row.bottom - view.bottom;
}

function step(by, focus) {
  if (matches.length) choose(Math.min(Math.max(chosen + by, 0), matches.length - 1), focus);
}

// ---- the address -------------------------------------------------------------------------------------------------------
// "#browse?run:base=right&run:cdpo=wrong&question=12:3": every control that is not as the page came, the order, the question.
const PLACE = "#browse?";
const controls = () => [...form.elements].filter((control) => control.name);
const usual = (control) => (control.tagName === "SELECT" ? ([...control.options].find((option) => option.defaultSelected) ?? control.options[0]).value : "");
const valueOf = (control) => (control.type === "checkbox" ? (control.checked ? "on" : "") : control.value);

function writeAddress() {
  const parts = new URLSearchParams(controls().filter((control) => valueOf(control) !== usual(control)).map((control) => [control.name, valueOf(control)]));
  if (sorted.order !== "none") parts.set("sort", `${sorted.column},${sorted.order}`);
  const isTouched = parts.size > 0 || chosen > 0 || location.hash.startsWith(PLACE);
  if (chosen >= 0) parts.set("question", matches[chosen].id);
  if (isTouched) history.replaceState(null, "", PLACE + parts.toString().replaceAll("%3A", ":"));
}

function setControl(control, value) {
  if (control.type === "checkbox") control.checked = value === "on";
  else control.value = value;
  return valueOf(control) === value;
}

// Sets filters, order and question as the address says, and tells what in it this page does not have.
function readAddress() {
  const old = decodeURIComponent(location.hash).match(/^#question-(.*)$/s);  // what links to a question were once
  const isOurs = location.hash.startsWith(PLACE) || old !== null;
  const parts = new URLSearchParams(old ? { question: old[1] } : isOurs ? location.hash.slice(PLACE.length) : "");
  if (isOurs) for (const control of controls()) setControl(control, usual(control));
  const [column, order] = (parts.get("sort") ?? "-1,none").split(",");
  sorted = { column: Number(column), order };
  showOrder(heads, sorted.column, order);
  const lost = [...parts].filter(([name, value]) => {
    const control = form.elements.namedItem(name);
    return name !== "sort" && name !== "question" && !(control && setControl(control, value));
  });
  const id = parts.get("question");
  filter();
  const place = matches.findIndex((question) => question.id === id);
  if (id !== null && place < 0) lost.push(["question", id]);
  if (place >= 0) choose(place);
  if (lost.length) byId("found").textContent += `. The link asks for what this page does not have: ${lost.map((part) => part.join(" = ")).join(", ")}`;
  if (isOurs) byId("browse").scrollIntoView({ behavior: "instant" });
}

// ---- beginning ---------------------------------------------------------------------------------------------------------
function listen() {
  form.addEventListener("input", () => filter());
  form.addEventListener("reset", () => setTimeout(() => filter()));
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("earlier").addEventListener("click", () => choose(first - PAGE));
  byId("later").addEventListener("click", () => choose(first + PAGE));
  makeSortable(byId("questions"), (column, order) => {
    sorted = { column, order };
    filter(null);
  });
  byId("copy-found").replaceChildren(copyButtons("the questions found", foundTable));
  addEventListener("hashchange", readAddress);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, video");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const inList = list.contains(event.target);
    const moves = { j: 1, k: -1, ...(inList ? { ArrowDown: 1, ArrowUp: -1 } : {}) };
    if (event.key in moves) step(moves[event.key], inList);
    else if (event.key === "/") form.elements.search.focus();
    else return;
    event.preventDefault();
  });
}

async function begin() {
  try {
    data = await unpacked(byId("data"));
  } catch (error) {
    byId("found").textContent = `The questions cannot be shown, which needs a browser of 2023 or later: ${error.message}.`;
    return;
  }
  for (const place of document.querySelectorAll("[data-question]")) {
    const question = data.questions.find((one) => one.id === place.dataset.question);
    if (question) place.replaceChildren(...card(question, 4, data.rule));
  }
  listen();
  readAddress();
}
