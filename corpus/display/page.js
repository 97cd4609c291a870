"use strict";
(async () => {
  const font = "system-ui, sans-serif", soft = "#6b6862", line = "#c9c6bd";
  const axis = {labelFont: font, titleFont: font, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal",
    labelColor: soft, titleColor: soft, gridColor: "#e4e1d9", domainColor: line, tickColor: line, tickSize: 4,
    labelLimit: 150, labelSeparation: 6};
  const config = {font, background: null, view: {stroke: null}, axis, text: {font, fontSize: 11}};
  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  tip.hidden = true;
  const tooltip = (handler, event, item, value) => {
    tip.replaceChildren();
    tip.hidden = value == null || value === "";
    if (tip.hidden) return;
    for (const [name, text] of Object.entries(value)) {
      const row = tip.appendChild(document.createElement("div"));
      row.appendChild(document.createElement("span")).textContent = name + " ";
      row.appendChild(document.createElement("b")).textContent = text;
    }
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(8, Math.min(event.clientX + 12, room)) + "px";
    tip.style.top = event.clientY + 14 + "px";
  };
  addEventListener("scroll", () => { tip.hidden = true; }, {passive: true});
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(each => { each.open = true; }));
  for (const figure of document.querySelectorAll("figure.chart")) {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    await vegaEmbed(figure.querySelector(".plot"), spec,
      {mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, config, tooltip});
  }
  document.documentElement.dataset.drawn = "yes";
})();
