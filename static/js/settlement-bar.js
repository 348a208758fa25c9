/* Moves the bars of settlements that are under way, and shows the page anew once one is over. */

const PAUSE_MS = 700;

for (const section of document.querySelectorAll("[data-settlement]")) {
  if (section.dataset.status === "pending" || section.dataset.status === "running") follow(section);
}
if (document.querySelector("[data-goes-on]")) setTimeout(() => location.reload(), PAUSE_MS);

async function follow(section) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    const answer = await fetch(`/api/v1/settlements/${section.dataset.settlement}`).catch(() => null);
    if (!answer?.ok) continue;
    const settlement = await answer.json();
    for (const figure of section.querySelectorAll("[data-figure]")) {
      figure.textContent = settlement[figure.dataset.figure] ?? "0";
    }
    const bar = section.querySelector("progress");
    bar.max = settlement.accounts_total || 1;
    bar.value = settlement.accounts_paid;
    if (settlement.status === "done" || settlement.status === "failed") return location.reload();
  }
}
