// The official JavaScript client against a running Coracle: logs, exec and port-forward of the pod `one` in `default`, which
// serves HTTP on port 8080 and writes lines to its log.

import assert from "node:assert/strict";
import net from "node:net";
import { PassThrough } from "node:stream";
import * as k8s from "@kubernetes/client-node";

const step = (text) => console.log(`ok: ${text}`);
const config = new k8s.KubeConfig();
config.loadFromDefault();

/** What a stream has said until it satisfies. */
function until(stream, satisfied) {
  return new Promise((resolve, reject) => {
    let text = "";
    stream.on("data", (piece) => {
      text += piece;
      if (satisfied(text)) resolve(text);
    });
    stream.on("error", reject);
    stream.on("end", () => resolve(text));
  });
}

const log = new PassThrough();
const line = until(log, (text) => text.endsWith("\n"));
await new k8s.Log(config).log("default", "one", "one", log, { follow: false, tailLines: 1 });
assert.match(await line, /^[^\n]+\n$/);
step("logs are read");

const [out, err] = [new PassThrough(), new PassThrough()];
const [saidOut, saidErr] = [until(out, (text) => text.endsWith("\n")), until(err, (text) => text.endsWith("\n"))];
const exec = new k8s.Exec(config);
const status = await new Promise((resolve, reject) => {
  const command = ["sh", "-c", "echo out; echo err >&2; exit 3"];
  exec.exec("default", "one", "one", command, out, err, null, false, resolve).catch(reject);
});
assert.equal(status.status, "Failure");
assert.equal(status.details.causes[0].message, "3");
assert.equal(await saidOut, "out\n");
assert.equal(await saidErr, "err\n");
step("a command is run");

const forward = new k8s.PortForward(config);
const server = net.createServer((socket) => {
  forward.portForward("default", "one", [8080], socket, null, socket).catch((error) => socket.destroy(error));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const socket = net.connect(server.address().port, "127.0.0.1");
const answer = until(socket, (text) => text.includes("\r\n\r\n"));
socket.write("GET / HTTP/1.1\r\nHost: one\r\nConnection: close\r\n\r\n");
assert.match(await answer, /^HTTP\/1\.[01] 200/);
step("a port is forwarded");
process.exit(0);
