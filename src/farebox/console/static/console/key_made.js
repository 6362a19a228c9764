// "Test this key": a real call with the key that this page shows, and its receipt. The key leaves the page only to /v1.
"use strict";
(() => {
  const card = document.getElementById("try");
  const key = document.getElementById("key-text").textContent.trim();
  const model = document.getElementById("try-model");
  const go = document.getElementById("try-go");
  const said = document.getElementById("try-said");
  const refusals = JSON.parse(card.dataset.refusals);
  card.hidden = false;
  const signs = { CNY: "¥", USD: "$", EUR: "€", GBP: "£", JPY: "JP¥", HKD: "HK$" };
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const line = (text, name) => {
    const made = document.createElement("p");
    made.className = name;
    made.textContent = text;
    said.append(made);
    return made;
  };
  const money = (micro) => {
    const [whole, part] = (micro / 1e6).toFixed(6).split(".");
    const sign = signs[card.dataset.currency] || `${card.dataset.currency} `;
    return `${sign}${whole}.${part.replace(/0{1,4}$/, "")}`;
  };
  async function receipt(call) {
    for (let tries = 0; tries < 20; tries += 1) {
      const answer = await fetch(`/v1/calls/${call}`, { headers });
      const found = answer.ok ? await answer.json() : null;
      if (found && found.outcome !== "open") return found;
      await new Promise((done) => { setTimeout(done, 150); });
    }
    return null;
  }
  go.addEventListener("click", async () => {
    go.disabled = true;
    said.replaceChildren();
    line(card.dataset.working, "soft");
    try {
      const answer = await fetch("/v1/chat/completions", {
        method: "POST", headers,
        body: JSON.stringify({
          model: model.value, max_tokens: 64, messages: [{ role: "user", content: card.dataset.prompt }],
        }),
      });
      const body = await answer.json();
      said.replaceChildren();
      if (!answer.ok || body.error) {
        line(refusals[body.error?.code] || `${card.dataset.failed} ${body.error ? body.error.message : answer.status}`, "flash bad");
        return;
      }
      line(body.choices[0].message.content, "said").translate = false;
      const call = answer.headers.get("x-request-id");
      const found = await receipt(call);
      const foot = line(found ? `${card.dataset.charge} ${money(found.charge_micro)} · ` : `${card.dataset.later} `, "figure");
      const link = document.createElement("a");
      link.href = card.dataset.call + call;
      link.textContent = card.dataset.receipt;
      foot.append(link);
    } catch (fault) {
      said.replaceChildren();
      line(fault instanceof TypeError ? card.dataset.away : `${card.dataset.failed} ${fault.message}`, "flash bad");
    } finally {
      go.disabled = false;
    }
  });
})();
