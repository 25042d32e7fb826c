"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Colours of the page, so that plots are read on light and on dark paper.
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    const axis = { gridcolor: of("--line"), zerolinecolor: of("--line"), linecolor: of("--line") };
    return { ink: of("--ink"), soft: of("--soft"), card: of("--card"), line: of("--line"), axis };
  };
  const themed = (layout) => {
    const { ink, soft, card, line, axis } = colours();
    const result = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 12, family: "system-ui, sans-serif" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink },
      hoverlabel: { bgcolor: card, bordercolor: line, font: { color: ink } } };
    for (const name of ["xaxis", "yaxis", "yaxis2"]) {
      if (layout[name]) { result[name] = { ...axis, automargin: true, ...layout[name] }; }
    }
    for (const menu of result.updatemenus || []) { Object.assign(menu, { bgcolor: card, bordercolor: line }); }
    return result;
  };
  const plots = [...document.querySelectorAll("[data-figure]")];
  const draw = () => plots.forEach((plot) => {
    const { data, layout } = figures[plot.dataset.figure];
    // The buttons are named one by one: those of plotly.js by default may include one that sends the data away.
    Plotly.react(plot, data, themed(layout), { responsive: true, displaylogo: false, displayModeBar: "hover",
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]], plotlyServerURL: "" });
  });
  draw();
  dark.addEventListener("change", draw);
  addEventListener("beforeprint", draw);
  addEventListener("afterprint", draw);

  const value = (row, at) => {
    const cell = row.cells[at];
    return cell.dataset.value === undefined ? cell.textContent.trim() : Number(cell.dataset.value);
  };
  const compare = (one, other) =>
    typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
  document.querySelectorAll("table.sortable th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const order = head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
    head.parentNode.querySelectorAll("th").forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const known = (cell) => !Number.isNaN(cell);
    [...body.rows].map((row) => [value(row, head.cellIndex), row]).sort(([one], [other]) =>
      known(one) && known(other) ? sign * compare(one, other) : known(other) - known(one)
    ).forEach(([, row]) => body.append(row));
  }));

  document.querySelectorAll("button[data-layer]").forEach((button) => button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    document.getElementById("gallery").classList.toggle("no-" + button.dataset.layer, !shown);
  }));
  document.querySelectorAll("button.copy").forEach((button) => button.addEventListener("click", async () => {
    const code = button.parentNode.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "selected";
    }
  }));
})();
