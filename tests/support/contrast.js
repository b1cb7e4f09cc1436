// The contrast of every text of a page, as WCAG 2 defines it: 4.5 to 1, and 3 to 1 where letters are large.
// Answers {found: [what is hard to read], looked: number}.
(() => {
  const parse = text => { const found = /rgba?\(([^)]+)\)/.exec(text); const [r, g, b, a = 1] = found[1].split(/[ ,/]+/).map(Number); return [r, g, b, a]; };
  const light = ([r, g, b]) => [r, g, b].map(part => (part /= 255) <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4)
    .reduce((sum, part, n) => sum + part * [.2126, .7152, .0722][n], 0);
  const over = (top, below) => [0, 1, 2].map(n => top[n] * top[3] + below[n] * (1 - top[3])).concat(1);
  const ground = element => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const ratio = (one, other) => { const [high, low] = [light(one), light(other)].sort((a, b) => b - a); return (high + .05) / (low + .05); };
  const found = [];
  let looked = 0;
  const look = (element, colour, text) => {
    const style = getComputedStyle(element), below = ground(element), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const is = ratio(over(parse(colour), below), below);
    looked += 1;
    if (is < (large ? 3 : 4.5)) found.push(`${text.trim().slice(0, 40)}: ${is.toFixed(2)}, ${colour} on ${below.slice(0, 3)}`);
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || element.closest("script, style, noscript, option, meter") || !element.checkVisibility()) continue;
    if (element.closest("button:disabled")) continue;  // WCAG asks nothing of what cannot be used
    look(element, getComputedStyle(element).color, walk.currentNode.data);
  }
  for (const field of document.querySelectorAll("input[placeholder], textarea[placeholder]"))
    if (field.checkVisibility()) look(field, getComputedStyle(field, "::placeholder").color, field.placeholder);
  return {found, looked};
})()
