// Hands the page's options to the browser's authenticator, and its answer to the form. Nothing is fetched.
const form = document.querySelector("form[data-passkey]");
const options = JSON.parse(form.dataset.passkey);
const said = document.getElementById("passkey-said");
const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const encode = (buffer) => buffer && btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
options.challenge = decode(options.challenge);
for (const known of [...(options.excludeCredentials || []), ...(options.allowCredentials || [])]) known.id = decode(known.id);
const make = form.dataset.new === "yes";
if (make) options.user.id = decode(options.user.id);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "Follow your browser …";
  try {
    const found = await navigator.credentials[make ? "create" : "get"]({ publicKey: options });
    const { response } = found;
    form.elements.answer.value = JSON.stringify({
      id: found.id, rawId: encode(found.rawId), type: found.type, authenticatorAttachment: found.authenticatorAttachment,
      response: make
        ? { clientDataJSON: encode(response.clientDataJSON), attestationObject: encode(response.attestationObject) }
        : { clientDataJSON: encode(response.clientDataJSON), authenticatorData: encode(response.authenticatorData), signature: encode(response.signature), userHandle: encode(response.userHandle) },
    });
    form.submit();
  } catch (error) {
    said.textContent = "No passkey was used (" + error.name + "). Try again, or go back.";
  }
});
form.querySelector("button").disabled = !window.PublicKeyCredential;
