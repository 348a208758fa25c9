// The portfolio: the server's own HTML, asked for anew when an order of the account has changed something.

import { find } from "./dom.js";
import { Holdings } from "./holdings.js";

const REFRESH_MS = 20_000;

const holdings = new Holdings(find("#portfolio"));
// Prices move without the account: values are brought up to date now and then.
setInterval(() => {
  if (!document.hidden) holdings.refresh();
}, REFRESH_MS);
