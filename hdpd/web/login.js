// The log-in page: takes a login link or a token once; the browser keeps a session cookie.

import { fill, h, icon } from "./dom.js";

export function showLogin(app, problem) {
  const field = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true, spellcheck: "false" });
  const message = h("div", { class: "notice bad", role: "alert", hidden: !problem }, problem);
  const submit = h("button", { class: "primary", type: "submit" }, "Log in");
  const form = h(
    "form",
    { class: "card stack" },
    h("label", { class: "field", for: "token" }, "Login link or token", field),
    message,
    submit,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    const problem = await logIn(field.value.trim());
    if (problem === null) location.reload();
    submit.disabled = false;
    message.hidden = problem === null;
    fill(message, problem);
  });
  fill(
    app,
    h(
      "main",
      { class: "login" },
      h("div", { class: "login-mark" }, icon("peers")),
      h("h1", {}, "Log in to hdpd"),
      form,
      h(
        "p",
        { class: "soft small" },
        "Get a link on the machine where hdpd runs: ",
        h("code", {}, "hdpctl login-link"),
        ". It works once, within ten minutes.",
      ),
    ),
  );
  field.focus();
}

// Null when it worked, else why not.
async function logIn(text) {
  const code = /#code=([^&\s]+)/.exec(text);
  try {
    const answer = await fetch("login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(code ? { code: decodeURIComponent(code[1]) } : { token: text }),
    });
    return answer.ok ? null : (await answer.json()).message;
  } catch {
    return "hdpd does not answer. Does it run?";
  }
}
