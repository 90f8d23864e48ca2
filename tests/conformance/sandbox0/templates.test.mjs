// The client for JavaScript: every call about templates, and the errors it shows.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { APIError, Client, container, resources, templateCreateRequest, templateFromSandboxCreateRequest, templateSpec, templateUpdateRequest } from "sandbox0";

const { ATOLL_URL: url, ATOLL_API_KEY: key, TEST_IMAGE: image, TEST_OTHER_IMAGE: otherImage } = process.env;
const client = new Client({ token: key, baseUrl: url });
const id = "js-it";

const spec = (memory = "1Gi", more = {}) => templateSpec(container(image, resources(memory)), more);
const create = (name, wanted) => client.templates.create(templateCreateRequest(name, wanted));
const ours = (path, init = {}) => fetch(`${url}${path}`, { ...init, headers: { authorization: key } });

async function refused(status, code, call) {
  const error = await call.then(() => assert.fail("it was not refused"), (error) => error);
  assert.ok(error instanceof APIError, String(error));
  assert.deepEqual([error.statusCode, error.code], [status, code], error.message);
  assert.match(error.requestId, /^req-/);
  return error;
}

after(async () => {
  for (const item of (await (await ours("/v1/templates")).json()).items) {
    if (item.name === id) await ours(`/v1/template/${item.id}`, { method: "DELETE" });
  }
});

test("a template from its making to its end", async () => {
  const given = spec("1.5Gi", {
    displayName: "It", description: "d", tags: ["a"], envVars: { A: "1" },
    pool: { minIdle: 1, maxIdle: 2 }, network: { mode: "allow-all" },
  });
  const made = await create(` ${id.toUpperCase()} `, given);
  assert.deepEqual([made.templateId, made.scope], [id, "team"]);
  assert.ok(made.createdAt instanceof Date && !Number.isNaN(made.createdAt.getTime()));
  const got = await client.templates.get(id);
  for (const shown of [made, got]) {
    assert.deepEqual(JSON.parse(JSON.stringify(shown.spec)), JSON.parse(JSON.stringify(given)));
  }
  assert.equal(got.status.creation, undefined);
  assert.equal(got.status.idleCount, 0);
  const ready = got.status.conditions.find((condition) => condition.type === "Ready");
  assert.equal(ready.status, "False");
  assert.ok(!Number.isNaN(ready.lastTransitionTime.getTime()));
  assert.equal((await client.templates.waitUntilReady(id)).templateId, id);
  assert.ok((await client.templates.list()).some((template) => template.templateId === id));

  const sandbox = await ours("/v1/sandbox", { method: "POST", body: JSON.stringify({ template_name: id }) });
  assert.equal(sandbox.status, 201);
  const { id: sandboxId, memory } = await sandbox.json();
  assert.equal(memory, 1536);
  assert.equal((await ours(`/v1/sandbox/${sandboxId}`, { method: "DELETE" })).status, 204);

  const other = templateSpec(container(otherImage, resources("2Gi")));
  const changed = await client.templates.update(id, templateUpdateRequest(other));
  assert.equal(changed.spec.mainContainer.image, otherImage);
  assert.equal(changed.spec.pool, undefined);
  await refused(409, "conflict", create(id, given));

  const deleted = await client.templates.delete(id);
  assert.equal(deleted.data.message, "template deleted");
  await refused(404, "not_found", client.templates.get(id));
  await refused(404, "not_found", client.templates.delete(id));
  await refused(404, "not_found", client.templates.update(id, templateUpdateRequest(other)));
});

test("the builtin is there", async () => {
  const builtin = await client.templates.get("default");
  assert.deepEqual([builtin.scope, builtin.spec.mainContainer.resources.memory], ["public", "2Gi"]);
  assert.deepEqual({ ...builtin.spec.pool }, { minIdle: 1, maxIdle: 5 });
});

test("what is wrong is said", async () => {
  const { details } = await refused(400, "bad_request", create("a/b", spec("0")));
  const fields = details.errors.map((error) => error.field);
  assert.deepEqual(fields, ["template_id", "spec.mainContainer.resources.memory"]);
  await refused(400, "bad_request", create(id, spec("1Gi", { network: { mode: "block-all" } })));
  await refused(400, "bad_request", create(id, spec("1Gi", { pool: { minIdle: 2, maxIdle: 1 } })));
  await refused(403, "forbidden", create(id, spec("9Gi")));
  await refused(403, "forbidden", create(id, spec("1Gi", { pod: { nodeSelector: { a: "b" } } })));
  await refused(403, "forbidden", create(id, spec("1Gi", { clusterId: "c" })));
  const pulling = container(image, resources("1Gi"), { imagePullPolicy: "Always" });
  await refused(403, "forbidden", create(id, templateSpec(pulling)));
  const from = templateFromSandboxCreateRequest(id, "sbx-any");
  await refused(503, "unavailable", client.templates.createFromSandbox(from));
});

test("without a good key there is nothing", async () => {
  const stranger = new Client({ token: "atoll_nobody", baseUrl: url });
  await refused(401, "unauthorized", stranger.templates.list());
  await refused(401, "unauthorized", stranger.templates.get(id));
});
