"use strict";
// Everything that came from a file or a model goes into the page as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

// ---- one question ------------------------------------------------------------------------------------------------------
const spread = (letters) => [...letters].join(", ") || "none";
const categoryOf = (question, rule) => question.categories[data.rules.indexOf(rule)] ?? null;  // null: it has no label
const tag = (category) => (category === null ? null : el("span", { class: `tag ${category}` }, category));

function verdict(reply) {
  if (reply === null) return { sign: "·", name: "not asked", kind: "" };
  if (reply.status === "decode_error") return { sign: "–", name: "clip not readable", kind: "" };
  return reply.right ? { sign: "✓", name: "right", kind: "right" } : { sign: "✗", name: "wrong", kind: "wrong" };
}

function strip(film, captions, label) {
  if (!film || !film.strip) return null;
  return el("ol", { class: "strip", "aria-label": label }, ...film.strip.map((source, i) => {
    const [moment, hit] = captions[i];
    const words = hit ? `${moment}: ${hit}` : moment;
    return el("li", { class: hit ? "hit" : null }, el("img", { src: source, alt: `${label}, ${words}` }), words);
  }));
}

function clips(pairs) {
  const found = pairs.filter(([film]) => film && film.clip);
  if (!found.length) return null;
  return el("details", {}, el("summary", {}, found.length > 1 ? "Play the clips" : "Play the clip"), el("div", { class: "clips" },
    ...found.map(([film, label]) => el("figure", {},
      el("video", { src: film.clip, controls: "", preload: "metadata", muted: "", "aria-label": label }),
      el("figcaption", {}, `${label} `, el("a", { href: film.clip }, "open the file"))))));
}

function optionsTable(question) {
  const heads = ["Correct", "Chosen by"];
  if (question.happens) heads.unshift("Without the object");
  if (question.seen) heads.unshift("In the film");
  const voters = [["observer", question.observer ?? ""], ...question.replies.map((reply, i) => [data.runs[i], reply?.chosen ?? ""])];
  const rows = question.options.map((option, i) => {
    const chosenBy = [...new Set(voters.filter(([, letters]) => letters.includes(option[0])).map(([name]) => name))].join(", ");
    const cells = [question.gold.includes(option[0]) ? "✓" : "", chosenBy];
    if (question.happens) cells.unshift(question.happens[i] ? "happens" : "does not");
    if (question.seen) cells.unshift(question.seen[i]);
    return el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, option),
      ...cells.map((cell, k) => el("td", { role: "cell", "data-head": heads[k] }, cell)));
  });
  const head = el("tr", { role: "row" }, ...["Option", ...heads].map((name) => el("th", { scope: "col", role: "columnheader" }, name)));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Options and answers" },
    el("table", { class: "options", role: "table" }, el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, ...rows)));
}

function replyBlock(reply, name, open) {
  const { sign, name: word, kind } = verdict(reply);
  const notes = [];
  if (reply && reply.status !== "decode_error") notes.push(reply.chosen === null ? "no answer can be read" : `answers ${spread(reply.chosen)}`);
  if (reply && reply.status === "truncated") notes.push("cut at the token limit");
  const summary = el("summary", {}, el("strong", {}, name), " ", el("span", { class: kind }, `${sign} ${word}`), notes.length ? `, ${notes.join(", ")}` : "");
  const block = el("details", open ? { open: "" } : {}, summary);
  if (reply) block.append(el("pre", {}, reply.reply || "(empty)"));
  return block;
}

function card(question, level, rule) {
  const scene = data.scenes[question.scene];
  const heading = (text) => el(`h${level + 1}`, {}, text);
  const parts = [];
  parts.push(el(`h${level}`, {}, `Question ${question.id} `, tag(categoryOf(question, rule))));
  parts.push(el("p", { class: "question" }, question.text));
  if (scene) {
    const label = "The film";
    const shown = strip(scene.film, scene.captions, label);
    const without = strip(question.film, scene.captions.map(([moment]) => [moment, ""]), `Without the ${question.removed}`);
    parts.push(el("p", { class: "faint" }, `Objects: ${scene.objects.join(", ")}. Removed: ${question.removed}.`));
    parts.push(heading("What the film shows"), shown || el("p", { class: "faint" }, scene.film ? "No strip of this clip is in the page." : "The clip is not at hand."));
    parts.push(scene.log.length ? el("ol", { class: "log", "aria-label": "Collision log" }, ...scene.log.map((line) => el("li", {}, line))) : el("p", {}, "Nothing collides."));
    if (without) parts.push(heading(`What would have happened without the ${question.removed}`), without);
    parts.push(clips([[scene.film, label], [question.film, `Without the ${question.removed}.`]]));
  } else {
    parts.push(el("p", { class: "faint" }, `Clip: ${question.clip}`), clips([[question.play, "The clip"]]));
  }
  parts.push(heading("Options"), optionsTable(question));
  if (question.why.some((reason) => reason !== null)) {
    parts.push(heading("Why it has this label"), el("dl", {}, ...data.rules.flatMap((name, i) => (question.categories[i] === null ? [] :
      [el("dt", {}, `${name} `, tag(question.categories[i])), el("dd", {}, question.why[i] ?? "No reason is given.")]))));
  }
  if (question.replies.length) {
    parts.push(heading("Replies"), ...question.replies.map((reply, i) => replyBlock(reply, data.runs[i], question.replies.length <= 3)));
  }
  return parts.filter((part) => part !== null);
}

for (const place of document.querySelectorAll("[data-question]")) {
  const question = data.questions.find((one) => one.id === place.dataset.question);
  if (question) place.replaceChildren(...card(question, 4, data.rule));
}

// ---- the browser -------------------------------------------------------------------------------------------------------
const PAGE = 50;
const form = byId("filters");
const list = byId("list");
let matches = [];
let chosen = -1;

function haystack(question) {
  question.words ??= [question.id, question.text, ...question.options, ...question.replies.map((reply) => (reply ? reply.reply : ""))]
    .join("\n").toLowerCase();
  return question.words;
}

const outcomes = {
  right: (reply) => reply.right && reply.status !== "decode_error",
  wrong: (reply) => !reply.right && reply.status !== "decode_error",
  observer: (reply, question) => !reply.right && question.observer !== null && reply.chosen === question.observer,
  unreadable: (reply) => reply.chosen === null && reply.status !== "decode_error",
  truncated: (reply) => reply.status === "truncated",
  decode_error: (reply) => reply.status === "decode_error",
};

function fits(question, wanted) {
  if (wanted.category && categoryOf(question, wanted.rule) !== wanted.category) return false;
  if (wanted.split && question.split !== wanted.split) return false;
  if (wanted.run || wanted.outcome) {
    const asked = (wanted.run ? [question.replies[+wanted.run]] : question.replies).filter((reply) => reply !== null);
    if (!asked.some((reply) => !wanted.outcome || outcomes[wanted.outcome](reply, question))) return false;
  }
  if (wanted.disagree && new Set(question.replies.filter((reply) => reply && reply.status !== "decode_error").map((reply) => reply.right)).size < 2) return false;
  if (wanted.rules && new Set(question.categories.filter((category) => category !== null)).size < 2) return false;
  if (wanted.film && !data.scenes[question.scene]?.film?.strip) return false;
  return !wanted.search || haystack(question).includes(wanted.search.toLowerCase().trim());
}

function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  const kept = matches[chosen];
  matches = data.questions.filter((question) => fits(question, wanted));
  const total = data.questions.length;
  byId("found").textContent = matches.length === total
    ? `${total.toLocaleString("en")} questions` : `${matches.length.toLocaleString("en")} of ${total.toLocaleString("en")} questions`;
  choose(matches.length ? Math.max(0, matches.indexOf(kept)) : -1);
}

function entry(question, index) {
  const marks = question.replies.map((reply) => verdict(reply));
  const category = categoryOf(question, form.elements.rule?.value);
  const spoken = [`Question ${question.id}`, ...(category === null ? [] : [category]), ...marks.map((mark, i) => `${data.runs[i]} ${mark.name}`), question.text].join(", ");
  const button = el("button", { type: "button", "aria-label": spoken, "aria-current": index === chosen ? "true" : null },
    el("span", { class: "line" }, el("span", {}, question.id), tag(category) ?? "",
      el("span", { class: "marks" }, ...marks.map((mark) => el("span", { class: mark.kind }, mark.sign)))),
    el("span", { class: "text" }, question.text));
  button.addEventListener("click", () => open(index));
  return el("li", {}, button);
}

function choose(index, focus = false) {
  chosen = index;
  const first = Math.max(0, Math.floor(chosen / PAGE) * PAGE);
  const top = list.dataset.first === String(first) ? list.scrollTop : 0;
  list.dataset.first = first;
  list.replaceChildren(...matches.slice(first, first + PAGE).map((question, i) => entry(question, first + i)));
  list.scrollTop = top;
  byId("page").textContent = matches.length ? `${first + 1} to ${Math.min(first + PAGE, matches.length)}` : "";
  byId("earlier").disabled = first === 0;
  byId("later").disabled = first + PAGE >= matches.length;
  byId("detail").className = "card";
  byId("detail").replaceChildren(...(chosen < 0 ? [el("p", {}, "No question fits these filters.")] : card(matches[chosen], 3, form.elements.rule?.value)));
  const current = list.querySelector("[aria-current]");
  if (current) {
    const row = current.parentElement;
    if (row.offsetTop < list.scrollTop + list.offsetTop) list.scrollTop = row.offsetTop - list.offsetTop;
    const below = row.offsetTop + row.offsetHeight - list.offsetTop - list.clientHeight;
    if (below > list.scrollTop) list.scrollTop = below;
    if (focus) current.focus({ preventScroll: true });
  }
}

function open(index, focus) {
  choose(index, focus);
  history.replaceState(null, "", `#question-${matches[index].id}`);
}

function step(by, focus) {
  if (matches.length) open(Math.min(Math.max(chosen + by, 0), matches.length - 1), focus);
}

function chooseLinked() {
  const id = decodeURIComponent(location.hash.slice(1));
  const found = matches.findIndex((question) => `question-${question.id}` === id);
  if (found >= 0) {
    choose(found);
    byId("browser").scrollIntoView();
  }
}

form.addEventListener("input", filter);
form.addEventListener("reset", () => setTimeout(filter));
form.addEventListener("submit", (event) => event.preventDefault());
byId("earlier").addEventListener("click", () => choose((Math.floor(chosen / PAGE) - 1) * PAGE));
byId("later").addEventListener("click", () => choose((Math.floor(chosen / PAGE) + 1) * PAGE));
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
filter();
chooseLinked();
addEventListener("hashchange", chooseLinked);
