// The playground: a chat that calls /v1 from the browser with a key of one hour, which this page alone remembers.
"use strict";
(() => {
  const root = document.getElementById("playground");
  const words = root.dataset;
  const refusals = JSON.parse(words.refusals); // by the error's code; /v1 itself speaks English alone
  const sizes = new Map(); // data URL of an image -> its width and height
  const $ = (name) => document.getElementById(`pg-${name}`);
  const signs = { CNY: "¥", USD: "$", EUR: "€", GBP: "£", JPY: "JP¥", HKD: "HK$" };
  const IMAGE_BYTES_MAX = 8e6;
  const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];
  let models = [];
  let currency = "";
  let key = null; // {text, until}
  let messages = [];
  let image = null;
  let sum = 0;
  let running = null;

  const chosen = () => models.find((each) => each.name === $("model").value);
  const money = (micro) => {
    const sign = signs[currency] || `${currency} `;
    const [whole, part] = (Math.round(micro) / 1e6).toFixed(6).split(".");
    return `${sign}${whole}.${part.replace(/0{1,4}$/, "")}`;
  };
  // 1,000 tokens are about 750 English words or 500 Chinese characters.
  const tokens = (text) => {
    const wide = (text.match(/[\u3001-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff01-\uff60]/g) || []).length;
    return Math.ceil(wide * 2 + (text.length - wide) / 4);
  };
  const text = (content) => (typeof content === "string" ? content : content.map((part) => part.text || "").join(""));
  // The tiles of catalog/images.py, by the lower reading. Null where the formula or the size is not known.
  function seen(url) {
    const formula = chosen().image_tokens;
    if (!formula || !sizes.has(url)) return null;
    let [short, long] = [...sizes.get(url)].sort((one, other) => one - other);
    if (long > 2048) [short, long] = [Math.max(1, Math.floor(short * 2048 / long)), 2048];
    if (short > 768) [short, long] = [768, Math.min(2048, Math.floor(long * 768 / short))];
    return formula.base + formula.tile * Math.ceil(long / 512) * Math.ceil(short / 512);
  }
  const images = (content) => (typeof content === "string" ? [] : content.filter((part) => part.image_url))
    .map((part) => seen(part.image_url.url));
  const refused = (error) => refusals[error.code] || `${words.refused} ${error.message}`;
  const price = (name) => (chosen() && chosen().prices[name]) || 0;
  const cost = (input, output) => (input * price("input") + output * price("output")) / 1e6;

  function parameters() {
    const out = { model: $("model").value, messages: [] };
    if ($("system").value.trim()) out.messages.push({ role: "system", content: $("system").value });
    out.messages.push(...messages);
    const number = (name, field) => { if ($(name).value !== "") out[field] = Number($(name).value); };
    number("temperature", "temperature");
    number("top-p", "top_p");
    number("limit", "max_tokens");
    return out;
  }

  function draft() {
    const content = $("text").value || "Hello!";
    if (!image) return { role: "user", content };
    return { role: "user", content: [{ type: "text", text: content }, { type: "image_url", image_url: { url: image } }] };
  }

  // What the code shows of a data URL is its beginning.
  const short = (value) => JSON.stringify(value, (_, each) =>
    (typeof each === "string" && each.startsWith("data:") ? `${each.slice(0, 40)}...` : each), 2);

  function python(value, indent) {
    const pad = " ".repeat(indent);
    return short(value).split("\n").map((line, n) => (n ? pad + line : line)).join("\n")
      .replace(/: true\b/g, ": True").replace(/: false\b/g, ": False").replace(/: null\b/g, ": None");
  }

  function code() {
    const body = parameters();
    if (!messages.length || $("text").value || image) body.messages.push(draft());
    else if (messages[messages.length - 1].role === "assistant") body.messages.pop(); // the call that has just been made
    const { model, messages: said, ...more } = body;
    const rest = Object.entries(more);
    const quoted = short({ ...body, stream: true }).replace(/'/g, "'\\''");
    $("curl").textContent = `curl -N ${words.base}/chat/completions \\\n  -H "Authorization: Bearer $OPENAI_API_KEY" \\\n`
      + `  -H "Content-Type: application/json" \\\n  -d '${quoted}'`;
    $("python").textContent = `from openai import OpenAI\n\nclient = OpenAI(base_url=${JSON.stringify(words.base)})  # OPENAI_API_KEY\n`
      + `stream = client.chat.completions.create(\n    model=${JSON.stringify(model)},\n    messages=${python(said, 4)},\n`
      + rest.map(([name, value]) => `    ${name}=${value},\n`).join("")
      + "    stream=True,\n)\nfor chunk in stream:\n    if chunk.choices:\n"
      + "        print(chunk.choices[0].delta.content or \"\", end=\"\", flush=True)";
    $("node").textContent = `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: ${JSON.stringify(words.base)} });\n`
      + `const stream = await client.chat.completions.create(${short({ ...body, stream: true })});\n`
      + "for await (const chunk of stream) {\n  process.stdout.write(chunk.choices[0]?.delta?.content ?? \"\");\n}";
  }

  function rate() {
    const now = chosen();
    if (!now) return;
    $("rate").textContent = Object.entries({ input: now.prices.input, output: now.prices.output })
      .filter(([, micro]) => micro !== undefined)
      .map(([name, micro]) => `${name === "input" ? "↑" : "↓"} ${money(micro)} / 1M ${words.tokens}`).join("  ·  ");
    $("limit").max = now.output_tokens_max;
    $("limit").placeholder = now.output_tokens_max;
    if (image && !now.image) fault(words.noImage);
    code();
  }

  function fault(message) {
    const made = document.createElement("p");
    made.className = "flash bad";
    made.textContent = message;
    $("log").append(made);
    made.scrollIntoView({ block: "nearest" });
    $("state").textContent = message;
  }

  function bubble(role, said, picture) {
    $("empty").hidden = true;
    const made = document.createElement("article");
    made.className = `turn ${role}`;
    const head = document.createElement("p");
    head.className = "who small soft";
    head.textContent = role === "user" ? words.you : $("model").value;
    if (role !== "user") head.translate = false;
    const body = document.createElement("div");
    body.className = "said";
    body.translate = false;
    body.textContent = said;
    made.append(head, body);
    if (picture) {
      const shown = document.createElement("img");
      shown.src = picture;
      shown.alt = "";
      made.append(shown);
    }
    $("log").append(made);
    made.scrollIntoView({ block: "nearest" });
    return { made, body };
  }

  async function mint() {
    const answer = await fetch(words.key, { method: "POST", body: new URLSearchParams(new FormData($("mint"))), redirect: "manual" });
    const found = (answer.headers.get("content-type") || "").includes("json") ? await answer.json() : null;
    if (!found) throw new Error(words.again);
    if (found.error) throw new Error(found.error);
    key = { text: found.key, until: found.expires_us / 1000 };
  }

  const headers = () => ({ Authorization: `Bearer ${key.text}`, "Content-Type": "application/json" });

  async function call(body, signal) {
    for (let again = 0; ; again += 1) {
      if (!key || key.until < Date.now() + 30000) await mint();
      const answer = await fetch("/v1/chat/completions", { method: "POST", headers: headers(), body, signal });
      if (answer.status !== 401 || again) return answer;
      key = null; // it ended before its time: a new one, once
    }
  }

  async function* events(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: {")) yield JSON.parse(line.slice(6));
    }
  }

  async function receipt(name) {
    for (let tries = 0; tries < 40; tries += 1) {
      const answer = await fetch(`/v1/calls/${name}`, { headers: headers() });
      const found = answer.ok ? await answer.json() : null;
      if (found && found.outcome !== "open") return found;
      await new Promise((done) => { setTimeout(done, 250); });
    }
    return null;
  }

  function count(foot, input, output, more) {
    foot.textContent = `${words.estimate} ${money(cost(input, output))} · ${input + output} ${words.tokens}${more}`;
  }

  async function settle(foot, name, stopped) {
    if (!name) return;
    const found = await receipt(name);
    if (!found) return;
    sum += found.charge_micro;
    $("sum").textContent = money(sum);
    $("sum-line").hidden = false;
    const used = Object.values(found.usage || {}).reduce((all, each) => all + each, 0);
    foot.textContent = `${money(found.charge_micro)} · ${used} ${words.tokens}${stopped ? ` · ${words.stopped}` : ""} · `;
    foot.dataset.chargeMicro = found.charge_micro;
    const link = document.createElement("a");
    link.href = words.call + name;
    link.textContent = words.receipt;
    foot.append(link);
  }

  async function answer() {
    const asked = { ...parameters(), stream: true };
    const pictures = asked.messages.flatMap((each) => images(each.content));
    const input = asked.messages.reduce((all, each) => all + tokens(text(each.content)) + 4, 3)
      + pictures.reduce((all, each) => all + (each || 0), 0);
    const more = pictures.includes(null) ? ` · ${words.images}` : "";
    running = new AbortController();
    $("send").disabled = true;
    $("stop").hidden = false;
    let name = "";
    let said = "";
    let thought = "";
    let stopped = false;
    let foot = null;
    let problem = "";
    try {
      const response = await call(JSON.stringify(asked), running.signal);
      name = response.headers.get("x-request-id") || "";
      if (!response.ok) {
        const body = await response.json();
        name = "";
        throw new Error(refused(body.error));
      }
      const turn = bubble("assistant", "");
      foot = document.createElement("p");
      foot.className = "cost small soft figure";
      turn.made.append(foot);
      count(foot, input, 0, more);
      for await (const event of events(response)) {
        if (event.error) throw new Error(refused(event.error));
        const delta = (event.choices[0] || {}).delta || {};
        said += delta.content || "";
        thought += delta.reasoning_content || "";
        turn.body.textContent = said || thought;
        turn.body.classList.toggle("thought", !said && Boolean(thought));
        count(foot, input, tokens(said) + tokens(thought), more);
        $("log").scrollTop = $("log").scrollHeight;
      }
    } catch (error) {
      stopped = error.name === "AbortError";
      if (!stopped) problem = error instanceof TypeError ? words.away : error.message;
    } finally {
      running = null;
      $("send").disabled = false;
      $("stop").hidden = true;
    }
    if (problem) fault(problem);
    if (said) messages.push({ role: "assistant", content: said });
    else if (foot === null) {
      const unsent = messages.pop();
      if (unsent) $("text").value = text(unsent.content);
    }
    $("state").textContent = said;
    code();
    if (foot) await settle(foot, name, stopped).catch(() => {});
  }

  function send() {
    const content = $("text").value.trim();
    if (running || (!content && !image) || !chosen()) return;
    if (image && !chosen().image) { fault(words.noImage); return; }
    messages.push(image
      ? { role: "user", content: [{ type: "text", text: content }, { type: "image_url", image_url: { url: image } }] }
      : { role: "user", content });
    bubble("user", content, image);
    $("text").value = "";
    drop();
    answer();
  }

  function drop() {
    image = null;
    $("image").value = "";
    $("thumb").replaceChildren();
  }

  $("image").addEventListener("change", () => {
    const file = $("image").files[0];
    drop_thumb();
    if (!file) return;
    if (!KINDS.includes(file.type) || file.size > IMAGE_BYTES_MAX) { fault(words.tooLarge); drop(); return; }
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      image = reader.result;
      const shown = document.createElement("img");
      const url = image;
      shown.addEventListener("load", () => sizes.set(url, [shown.naturalWidth, shown.naturalHeight]));
      shown.src = url;
      shown.alt = file.name;
      const away = document.createElement("button");
      away.type = "button";
      away.className = "button small quiet";
      away.textContent = words.remove;
      away.addEventListener("click", () => { drop(); code(); });
      $("thumb").replaceChildren(shown, away);
      if (chosen() && !chosen().image) fault(words.noImage);
      code();
    });
    reader.readAsDataURL(file);
  });
  function drop_thumb() { image = null; $("thumb").replaceChildren(); }

  $("form").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  $("mint").addEventListener("submit", (event) => event.preventDefault());
  $("mint").addEventListener("input", () => { key = null; }); // another cap, another key
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  $("stop").addEventListener("click", () => { if (running) running.abort(); });
  $("clear").addEventListener("click", () => {
    if (running) running.abort();
    messages = [];
    if (!image) sizes.clear();
    sum = 0;
    $("sum-line").hidden = true;
    for (const each of $("log").querySelectorAll(".turn, .flash")) each.remove();
    $("empty").hidden = false;
    code();
  });
  $("model").addEventListener("change", rate);
  for (const name of ["text", "system", "temperature", "top-p", "limit"]) $(name).addEventListener("input", code);

  (async () => {
    root.hidden = false;
    const found = await fetch(words.models).then((each) => each.json());
    models = found.models;
    currency = found.currency;
    for (const each of models) $("model").append(new Option(each.name, each.name));
    if (!models.length) { fault(words.none); $("send").disabled = true; return; }
    const wanted = new URLSearchParams(location.search).get("model");
    if (models.some((each) => each.name === wanted)) $("model").value = wanted;
    rate();
  })().catch(() => fault(words.away));
})();
