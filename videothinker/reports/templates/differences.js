// Which words of two texts are common to both, by a longest common subsequence; the others are what differs.
const MOST_CELLS = 16e6;  // of the table below: two replies of 4,000 words each
const isSpace = (token) => /^\s/.test(token);
const tokensOf = (text) => text.match(/[\p{L}\p{N}]+|\s+|[^\p{L}\p{N}\s]/gu) ?? [];

// For two lists of tokens a list of booleans each: is the token common? Null if they are too long to compare.
function common(first, second) {
  let [start, end] = [0, 0];
  const shorter = Math.min(first.length, second.length);
  while (start < shorter && first[start] === second[start]) start += 1;
  while (end < shorter - start && first.at(-1 - end) === second.at(-1 - end)) end += 1;
  const [n, m] = [first.length - start - end, second.length - start - end];
  if (n * m > MOST_CELLS) return null;
  const width = m + 1;
  const longest = new Uint16Array((n + 1) * width);  // of what follows token i of the first text and token k of the second
  for (let i = n - 1; i >= 0; i -= 1)
    for (let k = m - 1; k >= 0; k -= 1)
      longest[i * width + k] = first[start + i] === second[start + k] ? longest[(i + 1) * width + k + 1] + 1
        : Math.max(longest[(i + 1) * width + k], longest[i * width + k + 1]);
  const found = [first, second].map((tokens) => tokens.map((_, place) => place < start || place >= tokens.length - end));
  for (let i = 0, k = 0; i < n && k < m;) {
    if (first[start + i] === second[start + k]) {
      found[0][start + i++] = found[1][start + k++] = true;
    } else if (longest[(i + 1) * width + k] >= longest[i * width + k + 1]) i += 1;
    else k += 1;
  }
  return found;
}

// Each text as tokens that say whether they differ: those of the text at `base` are in none of the others, those of the others
// are not in it. Nulls, where there is nothing to compare, stay; so does a text that is too long, whose tokens do not differ.
function differences(texts, base) {
  const tokens = texts.map((text) => (text === null ? null : tokensOf(text)));
  const words = tokens.map((all) => all && all.filter((token) => !isSpace(token)));
  const differs = words.map((all) => all && all.map(() => false));
  let [inOthers, isComplete] = [words[base]?.map(() => false), true];
  words.forEach((other, place) => {
    if (place === base || !other || !inOthers) return;
    const found = common(words[base], other);
    isComplete &&= found !== null;
    if (!found) return;
    found[0].forEach((is, at) => { inOthers[at] ||= is; });
    differs[place] = found[1].map((is) => !is);
  });
  const compared = words.some((all, place) => all && place !== base);
  if (inOthers && compared && isComplete) differs[base] = inOthers.map((is) => !is);
  return { isComplete, texts: tokens.map((all, place) => all && withSpaces(all, differs[place])) };
}

// [token, whether it differs] for all tokens: a space between two words that differ belongs to them.
function withSpaces(tokens, differs) {
  let at = -1;
  return tokens.map((token) => {
    if (!isSpace(token)) at += 1;
    return [token, isSpace(token) ? Boolean(differs[at] && differs[at + 1]) : differs[at]];
  });
}

// The tokens as nodes: runs of what differs are marked.
function marked(tokens) {
  const runs = [];
  for (const [token, differs] of tokens) {
    if (runs.at(-1)?.differs === differs) runs.at(-1).text += token;
    else runs.push({ differs, text: token });
  }
  return runs.map(({ differs, text }) => (differs ? el("mark", {}, text) : text));
}
