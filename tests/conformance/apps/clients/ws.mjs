// The client of `ws`, as its pages show it. Says in JSON what it saw.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// Where the package is, beside what goes into the sandbox.
const { WebSocket } = createRequire(`${process.env.PACKAGES}/`)("ws");
const { URL_OF_APP, DOOR_PORT, ATOLL_API_KEY, SSL_CERT_FILE } = process.env;
const lookup = (_, options, found) => found(null, options.all ? [{ address: "127.0.0.1", family: 4 }] : "127.0.0.1", 4);
const connect = (headers) =>
  new WebSocket(`${URL_OF_APP.replace("https", "wss")}:${DOOR_PORT}/a%20socket?x=1`, {
    ca: readFileSync(SSL_CERT_FILE),
    headers,
    lookup,
  });

const socket = connect({ authorization: ATOLL_API_KEY });
const messages = [];
let wake = () => {};
socket.on("message", (data, isBinary) => {
  messages.push(isBinary ? data : data.toString());
  wake();
});
async function next() {
  while (messages.length === 0) await new Promise((resolve) => (wake = resolve));
  return messages.shift();
}

const hello = JSON.parse(await next());
socket.send("größer");
const text = await next();
socket.send(Buffer.alloc(1024 * 1024, 7));
const binary = await next();
// One message in three frames.
for (const [part, fin] of [["in ", false], ["three ", false], ["parts", true]]) socket.send(part, { fin });
const parts = await next();
socket.ping();
const ping = await next();
socket.close(4000, "enough");
const [code, reason] = await once(socket, "close");

const stranger = connect({});
const refused = await new Promise((resolve) => stranger.on("unexpected-response", (_, answer) => resolve(answer.statusCode)));
const closed = [code, reason.toString()];
console.log(JSON.stringify({ hello, text, binary: binary.length, parts, ping, closed, refused }));
process.exit(0);
