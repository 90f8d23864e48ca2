// Node.js's own client of HTTP/2, on one connection. Says in JSON what it saw.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:http2";

const { URL_OF_APP, DOOR_PORT, ATOLL_API_KEY, SSL_CERT_FILE } = process.env;
const lookup = (_, options, found) => found(null, options.all ? [{ address: "127.0.0.1", family: 4 }] : "127.0.0.1", 4);
const session = connect(`${URL_OF_APP}:${DOOR_PORT}`, { ca: readFileSync(SSL_CERT_FILE), lookup });

function ask(path, headers = {}) {
  const request = session.request({ ":path": path, authorization: ATOLL_API_KEY, ...headers });
  return request.setEncoding("latin1");
}

async function whole(request) {
  let body = "";
  for await (const piece of request) body += piece;
  return body;
}

// Many at once: each gets its own answer.
async function many() {
  const asked = Array.from({ length: 100 }, async (_, number) => {
    const request = ask(`/${number}`);
    const [headers] = await once(request, "response");
    await whole(request);
    return headers[":status"] === 200 && headers["x-path"] === `/${number}`;
  });
  return (await Promise.all(asked)).every(Boolean);
}

// To and fro within one request: each piece comes back before the next one is sent.
async function dialogue() {
  const request = ask("/dialogue", { ":method": "POST" });
  const heard = [];
  for (const word of ["one", "two", "three"]) {
    request.write(word);
    heard.push((await once(request, "data"))[0]);
  }
  request.end();
  return [...heard, await whole(request)];
}

// More than any window of flow control has room for.
async function large() {
  const request = ask("/large", { ":method": "POST" });
  request.end(Buffer.alloc(4 * 1024 * 1024, "x"));
  return (await whole(request)).length;
}

const seen = { many: await many(), dialogue: await dialogue(), large: await large(), alpn: session.alpnProtocol };
session.close();
console.log(JSON.stringify(seen));
