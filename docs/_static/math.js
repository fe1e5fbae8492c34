// Sphinx leaves the equations of a page as \(...\) and \[...\] in elements of the class "math"
addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".math")) {
    renderMathInElement(element, {
      delimiters: [
        { left: "\\[", right: "\\]", display: true },
        { left: "\\(", right: "\\)", display: false },
      ],
      throwOnError: false,
    });
  }
});
