// Starts the page.

import { render } from "solid-js/web";
import "./styles/theme.css";
import "./styles/layout.css";
import "./styles/controls.css";
import "./styles/panels.css";
import "./styles/flow.css";
import { App } from "./app.tsx";

const root = document.getElementById("root");
if (root) render(() => <App />, root);
