// Log in.

const form = document.getElementById("form"), problem = document.getElementById("problem"), input = document.getElementById("password");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.hidden = true;
  try {
    const got = await fetch("login", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ password: input.value }) });
    if (got.ok) {
      location.href = "./";
      return;
    }
    problem.textContent = (await got.json()).error;
  } catch {
    problem.textContent = "The device does not answer.";
  }
  problem.hidden = false;
  input.select();
});
