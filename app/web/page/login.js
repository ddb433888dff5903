// Owns signing in: asks for a token when the server wants one, and keeps it for this tab.

import { get, whenSignedOut } from "./api.js";
import { byId } from "./dom.js";
import { forgetPerson, signedIn, token } from "./storage.js";

/** Return who uses the page, as `GET /me` says it; ask for a token until there is one that is good. */
export async function signIn() {
  for (let wait = 500; ; ) {
    try {
      const me = await get("/me");
      if (me.auth !== "none" && !me.user) await askForToken();
      else {
        signedIn(me.user);
        return me;
      }
    } catch (error) {
      if (error.status === 401 || error.status === 403) await askForToken(token.get() ? "This token is not accepted. Check that it is complete, or ask for another." : "");
      else {
        byId("announcer").textContent = error.message;
        await new Promise((resolve) => setTimeout(resolve, wait));
        wait = Math.min(wait * 2, 5000);
      }
    }
  }
}

/** From here on, an answer that wants a token begins anew. */
export function watchSignOut() {
  let reloading = false;
  whenSignedOut(() => {
    if (reloading) return;
    reloading = true;
    location.reload();
  });
  byId("sign-out").addEventListener("click", () => {
    forgetPerson();
    location.reload();
  });
}

function askForToken(problem = "") {
  const section = byId("login");
  const input = byId("token");
  byId("app").hidden = true;
  section.hidden = false;
  byId("login-error").textContent = problem;
  input.focus();
  return new Promise((resolve) => {
    byId("login-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        token.set(input.value.trim());
        input.value = "";
        section.hidden = true;
        resolve();
      },
      { once: true },
    );
  });
}
