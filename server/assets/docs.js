// Starts Swagger UI, which shows this server's OpenAPI document with a console for each operation.

// Swagger UI has dark colors but turns them on only in a layout that also asks for the address of a document.
const dark = matchMedia("(prefers-color-scheme: dark)");
const setColors = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", setColors);
setColors();

/** The address of an operation below this page's own address, wherever a proxy has put it. */
function address(url) {
  const { pathname, search } = new URL(url);
  return new URL(`.${pathname}${search}`, document.baseURI).href;
}

SwaggerUIBundle({
  dom_id: "#contract",
  url: "openapi.json",
  deepLinking: true,
  tryItOutEnabled: true,
  // The default sends the document's address to a public validator.
  validatorUrl: null,
  // The default theme's numbers have too little contrast.
  syntaxHighlight: { theme: "tomorrow-night" },
  requestInterceptor: (request) => (request.loadSpec ? request : { ...request, url: address(request.url) }),
});
