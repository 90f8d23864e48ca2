import { note } from "./note.js";

const show = (text) => (document.getElementById("note").textContent = text);
show(note);
import.meta.hot.accept("./note.js", (changed) => show(changed.note));
