// Passkeys: asks the browser for one and sends the form that waits for it. Buttons without it stay hidden.
"use strict";
(() => {
  if (!window.PublicKeyCredential) return;
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (sign) => sign.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const listed = (list) => (list || []).map((each) => ({ ...each, id: bytes(each.id) }));
  const creation = (given) => ({
    ...given, challenge: bytes(given.challenge), user: { ...given.user, id: bytes(given.user.id) },
    excludeCredentials: listed(given.excludeCredentials),
  });
  const question = (given) => ({ ...given, challenge: bytes(given.challenge), allowCredentials: listed(given.allowCredentials) });
  const written = (made) => {
    const said = { clientDataJSON: text(made.response.clientDataJSON) };
    for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (made.response[name]) said[name] = text(made.response[name]);
    }
    if (made.response.getTransports) said.transports = made.response.getTransports();
    return {
      id: made.id, rawId: text(made.rawId), type: made.type, response: said,
      authenticatorAttachment: made.authenticatorAttachment, clientExtensionResults: made.getClientExtensionResults(),
    };
  };
  for (const button of document.querySelectorAll("[data-passkey]")) {
    const form = document.getElementById(button.dataset.passkey);
    const fault = document.getElementById("passkey-fault");
    button.hidden = false;
    button.addEventListener("click", async (event) => {
      event.preventDefault();
      try {
        const ask = button.dataset.from
          ? (await (await fetch(button.dataset.from, { headers: { Accept: "application/json" } })).json()).request_options
          : JSON.parse(document.getElementById("passkey-data").textContent);
        let made;
        if (button.dataset.make !== undefined) {
          const options = creation(ask.publicKey);
          const alone = form.querySelector("[name=passwordless]")?.checked;
          const choice = { ...options.authenticatorSelection, residentKey: alone ? "required" : "discouraged", requireResidentKey: Boolean(alone) };
          if (alone) choice.userVerification = "required";
          made = await navigator.credentials.create({ publicKey: { ...options, authenticatorSelection: choice } });
        } else {
          made = await navigator.credentials.get({ publicKey: question(ask.publicKey) });
        }
        form.querySelector("[name=credential]").value = JSON.stringify(written(made));
        form.submit();
      } catch {
        if (fault) fault.hidden = false;
      }
    });
  }
})();
