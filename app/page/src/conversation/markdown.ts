// Markdown of agents as HTML that can do nothing: tags that they wrote stay text, and what marked makes of the rest
// goes through DOMPurify. Pictures of other machines are links, since this page loads nothing from elsewhere.

import DOMPurify from "dompurify";
import { Marked } from "marked";

const escape = (text: string): string =>
  text.replace(/[&<>"']/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[sign] ?? sign);

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escape(text),
    image: ({ href, text }) => `<a href="${escape(href)}">${escape(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

const KEPT = new Map<string, string>();
const MOST_KEPT = 400;
/** Above it the text stands as it is: nobody reads a megabyte as Markdown, and it would hold up the page. */
const MOST = 200_000;

/** HTML without scripts, styles, forms and frames; null where the text is to be shown as it is. */
export function html(text: string): string | null {
  if (text.length > MOST) return null;
  const known = KEPT.get(text);
  if (known !== undefined) return known;
  const made = DOMPurify.sanitize(marked.parse(text, { async: false }), {
    USE_PROFILES: { html: true },
    FORBID_TAGS: ["style", "form", "input", "button", "select", "textarea", "img", "picture", "audio", "video", "source", "iframe"],
    FORBID_ATTR: ["style", "class", "id", "name", "srcset"],
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  });
  if (KEPT.size >= MOST_KEPT) KEPT.delete(KEPT.keys().next().value ?? "");
  KEPT.set(text, made);
  return made;
}
