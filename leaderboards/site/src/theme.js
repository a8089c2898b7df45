// Runs before anything is drawn: the chosen theme, or the system's, without a flash of the other.
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

function stored(value) {
  try {
    if (value) localStorage.setItem("theme", value);
    return localStorage.getItem("theme");
  } catch {
    return null; // pages opened from a disk may have no storage
  }
}

function show(theme) {
  root.dataset.theme = theme;
  root.dispatchEvent(new Event("theme"));
  const button = document.getElementById("theme");
  if (button) button.textContent = theme === "dark" ? "Light" : "Dark";
}

let chosen = stored();
const current = () => chosen || (dark.matches ? "dark" : "light");
show(current());
dark.addEventListener("change", () => show(current()));
document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  button.hidden = false;
  button.title = "Switch between light and dark";
  button.addEventListener("click", () => {
    chosen = current() === "dark" ? "light" : "dark";
    stored(chosen);
    show(chosen);
  });
  show(current());
});
