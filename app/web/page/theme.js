// Light or dark, before the first paint. A plain script, not a module: modules run too late for that.
(function () {
  "use strict";
  function chosen() {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is switched off: the system decides
    }
  }
  function apply() {
    const theme = chosen();
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  }
  apply();
  window.addEventListener("storage", apply);
})();
