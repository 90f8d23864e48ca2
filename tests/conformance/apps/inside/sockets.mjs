// An app of Node.js: what comes in goes out again, by HTTP as it comes, and by WebSockets with `ws`.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const server = createServer((request, answer) => {
  answer.writeHead(200, { "content-type": "application/octet-stream", "x-path": request.url });
  answer.flushHeaders();
  request.pipe(answer);
});
const sockets = new WebSocketServer({ server, perMessageDeflate: { threshold: 0 } });
sockets.on("connection", (socket, request) => {
  socket.send(JSON.stringify({ path: request.url, extensions: socket.extensions }));
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on("ping", () => socket.send("a ping came"));
});
// Where Node.js listens unless it is told otherwise.
server.listen(8001);
