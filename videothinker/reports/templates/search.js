// Search by words: a text fits if it has every word that is asked for, as the beginning of a word, in any order. What stands in
// quotation marks is a phrase of whole words. Chinese and other scripts without spaces are found anywhere in a text.
const OF_WORDS = /[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{N}]/u;
const searchable = (text) => text.toLowerCase().replace(/\s{2,}|[\n\t]/g, " ");

// Is a sign part of a word? Nearly all are ASCII, for which the expression above takes too long.
function isOfWords(sign) {
  const code = sign.charCodeAt(0);
  return code < 128 ? (code > 96 && code < 123) || (code > 47 && code < 58) || (code > 64 && code < 91) : OF_WORDS.test(sign);
}

// The words and phrases of what was typed; begins and ends say where a word has to begin or end for it to be found.
function termsOf(typed) {
  const found = [...searchable(typed).matchAll(/"([^"]*)"?|[^\s"]+/g)].map(([word, phrase]) => [(phrase ?? word).trim(), phrase !== undefined]);
  return found.filter(([words]) => words).map(([words, isPhrase]) =>
    ({ words, begins: isOfWords(words[0]), ends: isPhrase && isOfWords(words.at(-1)) }));
}

// Where a term stands in a text that is searchable, at or after a place; -1 if nowhere.
function findTerm(text, { words, begins, ends }, from = 0) {
  const goesOn = (place) => place >= 0 && place < text.length && isOfWords(text[place]);
  for (let at = text.indexOf(words, from); at >= 0; at = text.indexOf(words, at + 1))
    if (!(begins && goesOn(at - 1)) && !(ends && goesOn(at + words.length))) return at;
  return -1;
}

// Marks the terms in a part of the page without changing it, where the browser can.
function highlight(node, terms) {
  if (!globalThis.Highlight) return;
  const ranges = [];
  const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.data.toLowerCase();
    if (text.length !== texts.currentNode.length) continue;  // a letter that is longer in lower case: places would be off
    for (const term of terms) {
      for (let at = findTerm(text, term); at >= 0; at = findTerm(text, term, at + 1))
        ranges.push(new StaticRange({ startContainer: texts.currentNode, startOffset: at, endContainer: texts.currentNode, endOffset: at + term.words.length }));
    }
  }
  CSS.highlights.set("found", new Highlight(...ranges));
}
