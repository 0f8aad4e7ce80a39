// Log in. The device checks a password slowly, on purpose, so the page shows that it is at it.

const [form, problem, input, button] = ["form", "problem", "password", "enter"].map((id) => document.getElementById(id));

function checking(is) {
  button.disabled = input.readOnly = is;
  button.textContent = is ? "Checking …" : "Log in";
}
addEventListener("pageshow", () => checking(false)); // also when one comes back to this page after logging in

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.hidden = true;
  checking(true);
  let wrong = false;
  try {
    const got = await fetch("login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ password: input.value }) });
    if (got.ok) {
      location.href = "./";
      return;
    }
    wrong = got.status === 403;
    problem.textContent = (await got.json()).error;
  } catch {
    problem.textContent = "The device does not answer. Try again in a moment.";
  }
  problem.hidden = false;
  checking(false);
  input.focus();
  if (wrong) input.select(); // the next key begins anew; else the password stays as it is, to be sent again
});
