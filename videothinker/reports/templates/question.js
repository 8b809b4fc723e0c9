// One question with everything that is known of it: a card of sections. Everything that came from a file or a model goes into
// the page as text, never as markup.
const spread = (answer) => /\d/.test(answer) ? answer : [...answer].join(", ") || "none";  // a number or an interval is no letters
const tag = (category) => (category === null ? null : el("span", { class: `tag ${category}` }, category));

// The category by a rule; null: the question has none.
const categoryOf = (question, rule) => question.categories[data.rules.indexOf(rule)] ?? null;

// What became of a reply: one of these for each, in the order in which a list is sorted by them.
const VERDICTS = [
  { is: (reply) => reply === null, sign: "·", name: "not asked", kind: "" },
  { is: (reply) => reply.status === "decode_error", sign: "–", name: "clip not readable", kind: "" },
  { is: (reply) => reply.right, sign: "✓", name: "right", kind: "right" },
  { is: (reply) => reply.chosen === null, sign: "?", name: "unread", kind: "wrong" },
  { is: () => true, sign: "✗", name: "wrong", kind: "wrong" },
];
const verdict = (reply) => VERDICTS.find((one) => one.is(reply));

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

// What the clip shows: of a scene its objects, strips and log, of any other clip a link.
function filmSection(question, heading) {
  const scene = data.scenes[question.scene];
  if (!scene) return [el("p", { class: "faint" }, `Clip: ${question.clip}`), clips([[question.play, "The clip"]])];
  const label = "The film";
  const shown = strip(scene.film, scene.captions, label);
  const without = strip(question.film, scene.captions.map(([moment]) => [moment, ""]), `Without the ${question.removed}`);
  return [
    el("p", { class: "faint" }, `Objects: ${scene.objects.join(", ")}. Removed: ${question.removed}.`),
    heading("What the film shows"),
    shown ?? el("p", { class: "faint" }, scene.film ? "No strip of this clip is in the page." : "The clip is not at hand."),
    scene.log.length ? el("ol", { class: "log", "aria-label": "Collision log" }, ...scene.log.map((line) => el("li", {}, line))) : el("p", {}, "Nothing collides."),
    ...(without ? [heading(`What would have happened without the ${question.removed}`), without] : []),
    clips([[scene.film, label], [question.film, `Without the ${question.removed}.`]]),
  ];
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
    return [option, ...cells];
  });
  return [["Option", ...heads], rows];
}

// On a phone the cells of a row stand below each other; roles in the markup keep it a table for screen readers.
function optionsSection(question, heading) {
  const [heads, rows] = optionsTable(question);
  const head = el("tr", { role: "row" }, ...heads.map((name) => el("th", { scope: "col", role: "columnheader" }, name)));
  const body = rows.map(([option, ...cells]) => el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, option),
    ...cells.map((cell, k) => el("td", { role: "cell", "data-head": heads[k + 1] }, cell))));
  const table = el("table", { class: "options", role: "table" }, el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, ...body));
  return [
    heading("Options"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Options and answers" }, table),
    copyButtons("the options", () => optionsTable(question)),
  ];
}

function whySection(question, heading) {
  if (question.why.every((reason) => reason === null)) return [];
  return [heading("Why it has this label"), el("dl", {}, ...data.rules.flatMap((name, i) => (question.categories[i] === null ? [] :
    [el("dt", {}, `${name} `, tag(question.categories[i])), el("dd", {}, question.why[i] ?? "No reason is given.")])))];
}

function facetsSection(question, heading) {
  const facets = Object.entries(question.facets);
  return facets.length ? [heading("Facets"), el("p", {}, facets.map(([name, value]) => `${name}: ${value}`).join("; "))] : [];
}

const wordsOf = (reply) => (reply === null || reply.status === "decode_error" ? null : reply.reply);

// The replies beside each other, each with the words that it does not share with the reply at `base` (-1: none is marked).
function repliesSection(question, heading, base) {
  if (!question.replies.length) return [];
  const { isComplete, texts } = differences(question.replies.map(wordsOf), base);
  const name = data.runs[base];
  const columns = question.replies.map((reply, i) => {
    const { sign, name: word, kind } = verdict(reply);
    const notes = [];
    if (wordsOf(reply) !== null && reply.chosen !== null) notes.push(`answers ${spread(reply.chosen)}`);
    if (reply?.status === "truncated") notes.push("cut at the token limit");
    return el("section", { class: "reply", "aria-label": `Reply of ${data.runs[i]}` },
      el("p", {}, el("strong", {}, data.runs[i]), " ", el("span", { class: kind }, `${sign} ${word}`), ...notes.map((note) => `, ${note}`)),
      reply && el("pre", { tabindex: "0" }, ...(texts[i] ? (reply.reply ? marked(texts[i]) : ["(empty)"]) : [reply.reply])));
  });
  const legend = base < 0 || question.replies.length < 2 ? null
    : wordsOf(question.replies[base]) === null ? `${name} has no reply to compare with.`
      : `Marked are the words of ${name} that no other reply shares, and those of the others that ${name} lacks.${isComplete ? "" : " Some replies are too long to be compared."}`;
  return [heading("Replies"), legend && el("p", { class: "faint legend" }, legend), el("div", { class: "replies" }, ...columns)];
}

const SECTIONS = [filmSection, optionsSection, whySection, facetsSection, repliesSection];

// level: of the card's heading. base: the run whose reply the others are compared with.
function card(question, level, rule, base = -1) {
  const heading = (text) => el(`h${level + 1}`, {}, text);
  return [
    el(`h${level}`, {}, `Question ${question.id} `, tag(categoryOf(question, rule))),
    el("p", { class: "question" }, question.text),
    ...SECTIONS.flatMap((section) => section(question, heading, base)),
  ].filter((part) => part !== null);
}
