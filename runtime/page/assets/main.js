// Starts the page.

async function start() {
  const root = document.getElementById("page");
  const holder = document.getElementById("data");
  const data = JSON.parse(holder.textContent);
  holder.remove();
  root.append(help());
  if (data.kind === "report") {
    new Report(data.report, await Wafer.open(data.report)).build(root);
  } else {
    const [old, now] = await Promise.all([Wafer.open(data.old), Wafer.open(data.new)]);
    new Difference(data, old, now).build(root);
  }
  // After two frames everything has been drawn once.
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      document.documentElement.dataset.ready = Math.round(performance.now());
    }),
  );
}

start().catch((error) => {
  document
    .getElementById("page")
    .replaceChildren(
      h(
        "p",
        { class: "failed", role: "alert" },
        `This report could not be drawn: ${error.message}. It needs a browser of 2023 or later.`,
      ),
    );
  throw error;
});
