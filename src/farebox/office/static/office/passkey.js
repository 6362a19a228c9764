// Passkeys on the operators' pages: what the browser answers goes into the form, which is then sent as any other.
"use strict";
const toBytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const known = (list) => (list || []).map((each) => ({ ...each, id: toBytes(each.id) }));

async function make(options) {
  const made = await navigator.credentials.create({
    publicKey: {
      ...options, challenge: toBytes(options.challenge), user: { ...options.user, id: toBytes(options.user.id) },
      excludeCredentials: known(options.excludeCredentials),
    },
  });
  return {
    type: made.type, id: made.id, rawId: toText(made.rawId), clientExtensionResults: made.getClientExtensionResults(),
    response: {
      clientDataJSON: toText(made.response.clientDataJSON), attestationObject: toText(made.response.attestationObject),
    },
  };
}

async function prove(options) {
  const got = await navigator.credentials.get({
    publicKey: {
      ...options, challenge: toBytes(options.challenge), allowCredentials: known(options.allowCredentials),
    },
  });
  const said = got.response;
  return {
    type: got.type, id: got.id, rawId: toText(got.rawId), clientExtensionResults: got.getClientExtensionResults(),
    response: {
      clientDataJSON: toText(said.clientDataJSON), authenticatorData: toText(said.authenticatorData),
      signature: toText(said.signature), userHandle: said.userHandle ? toText(said.userHandle) : null,
    },
  };
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) {
    form.querySelector("[data-unable]").hidden = false;
    continue;
  }
  form.addEventListener("submit", async (event) => {
    if (form.elements.answer.value) return;
    event.preventDefault();
    const options = JSON.parse(form.dataset.options).publicKey;
    try {
      const answer = form.dataset.passkey === "make" ? await make(options) : await prove(options);
      form.elements.answer.value = JSON.stringify(answer);
      form.requestSubmit(event.submitter);
    } catch {
      form.querySelector("[data-failed]").hidden = false;
    }
  });
}
