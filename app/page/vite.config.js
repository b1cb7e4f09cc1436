import { defineConfig } from "vite";

// One file: script and style stand in the page, so that its policy can name them by their hashes, and so that a reader
// never gets a page of one version and a script of another while servers are replaced.
const oneFile = {
  name: "one-file",
  enforce: "post",
  generateBundle(_, bundle) {
    const page = bundle["index.html"];
    const take = (kind) =>
      Object.values(bundle)
        .filter((part) => part.fileName.endsWith(kind))
        .map((part) => {
          delete bundle[part.fileName];
          return String(part.code ?? part.source).trim();
        })
        .join("\n");
    const script = take(".js").replaceAll("</script", "<\\/script");
    const style = take(".css");
    page.source = String(page.source)
      .replace(/\s*<(script|link)[^>]*crossorigin[^>]*>(<\/script>)?/g, "")
      .replace("</head>", () => `<style>${style}</style>\n</head>`)
      .replace("</body>", () => `<script>${script}</script>\n</body>`);
  },
};

export default defineConfig({
  base: "./",
  plugins: [oneFile],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    outDir: "dist",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: { output: { format: "iife", codeSplitting: false } },
  },
});
