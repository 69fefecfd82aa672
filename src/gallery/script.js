"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const cards = Array.from(document.querySelectorAll(".card"));
  const texts = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
  const value = (id) => (byId(id) ? byId(id).value : "");
  const tagsOf = (card) => card.dataset.tags.split("\n");

  const ago = (millis) => {
    const minutes = Math.max(0, Math.floor(millis / 60000));
    if (minutes < 60) return minutes + "m";
    if (minutes < 48 * 60) return Math.floor(minutes / 60) + "h";
    return Math.floor(minutes / 1440) + "d";
  };
  const ages = () => {
    for (const time of document.querySelectorAll("time")) {
      time.title = ago(Date.now() - Date.parse(time.dateTime)) + " ago";
    }
    for (const going of document.querySelectorAll("[data-since]")) {
      going.textContent = ago(Date.now() - Date.parse(going.dataset.since)) + " so far";
    }
  };

  const show = () => {
    const wanted = value("search").trim().toLowerCase();
    let shown = 0;
    for (const card of cards) {
      const text = texts.get(card);
      const fits = text.includes(wanted)
        && (!value("status") || card.dataset.status === value("status"))
        && (!value("kind") || card.dataset.kind === value("kind"))
        && (!value("tag") || tagsOf(card).includes(value("tag")));
      card.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    byId("count").textContent = shown + " of " + cards.length;
  };

  const orders = {
    newest: (a, b) => b.dataset.at - a.dataset.at,
    oldest: (a, b) => a.dataset.at - b.dataset.at,
    longest: (a, b) => b.dataset.length - a.dataset.length,
    title: (a, b) => a.querySelector("h3").textContent.localeCompare(b.querySelector("h3").textContent),
  };
  const sort = () => {
    const place = byId("cards");
    place.append(...Array.from(place.children).sort(orders[value("sort")]));
  };

  byId("controls").hidden = false;
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["search", "status", "kind", "tag"]) {
    if (byId(id)) byId(id).addEventListener("input", show);
  }
  byId("sort").addEventListener("input", sort);
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) {
      event.preventDefault();
      byId("search").focus();
    } else if (event.key === "Escape" && event.target.id === "search") {
      byId("search").value = "";
      show();
    } else if ((event.key === "j" || event.key === "k") && !typing) {
      const seen = Array.from(document.querySelectorAll(".card:not([hidden])"));
      const next = seen.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      if (seen[next]) seen[next].focus();
    }
  });
  ages();
  setInterval(ages, 60000);
  show();
})();
