// The official JavaScript client against a running Coracle: objects, watches, patches, server-side apply. Takes the kubeconfig
// from KUBECONFIG; says each step that it has done, and ends with an error at the first that fails.

import assert from "node:assert/strict";
import * as k8s from "@kubernetes/client-node";

const step = (text) => console.log(`ok: ${text}`);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const namespace = "javascript";

/** The message of a call that must be refused with this status. */
async function refused(code, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.code, code, String(error));
    return String(error.body);
  }
  assert.fail(`it was not refused with ${code}`);
}

const version = await config.makeApiClient(k8s.VersionApi).getCode();
assert.equal(version.major, "1");
await core.createNamespace({ body: { metadata: { name: namespace } } });
for (const name of ["a", "b", "c"]) {
  const body = { metadata: { name, labels: { odd: name === "b" ? "no" : "yes" } }, data: { k: name } };
  await core.createNamespacedConfigMap({ namespace, body });
}
const chosen = await core.listNamespacedConfigMap({ namespace, labelSelector: "odd=yes" });
assert.deepEqual(chosen.items.map((item) => item.metadata.name), ["a", "c"]);
await refused(404, () => core.readNamespacedConfigMap({ namespace, name: "none" }));
await refused(409, () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "a" } } }));
step("objects are created and selected");

const watch = new k8s.Watch(config);
const seen = [];
const path = `/api/v1/namespaces/${namespace}/configmaps`;
const start = (await core.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;
await new Promise((resolve, reject) => {
  watch
    .watch(
      path,
      { resourceVersion: start },
      (type, object) => {
        seen.push(`${type} ${object.metadata.name}`);
        if (seen.length === 2) resolve();
      },
      (error) => reject(error ?? new Error(`the watch ended after ${seen}`)),
    )
    .then(async () => {
      const merge = k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch);
      await core.patchNamespacedConfigMap({ namespace, name: "a", body: { data: { k: "new" } } }, merge);
      await core.deleteNamespacedConfigMap({ namespace, name: "b" });
    })
    .catch(reject);
});
assert.deepEqual(seen, ["MODIFIED a", "DELETED b"]);
step("a watch tells of changes");

const template = { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "web", image: "hello" }] } };
const body = { metadata: { name: "web" }, spec: { replicas: 0, selector: { matchLabels: { app: "web" } }, template } };
await apps.createNamespacedDeployment({ namespace, body });
const strategic = k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.StrategicMergePatch);
const change = { spec: { template: { spec: { containers: [{ name: "web", image: "hello:2" }] } } } };
const changed = await apps.patchNamespacedDeployment({ namespace, name: "web", body: change }, strategic);
assert.equal(changed.spec.template.spec.containers[0].image, "hello:2");
const operations = k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.JsonPatch);
const operation = [{ op: "replace", path: "/spec/replicas", value: 1 }];
const scaled = await apps.patchNamespacedDeployment({ namespace, name: "web", body: operation }, operations);
assert.equal(scaled.spec.replicas, 1);
const scale = await apps.readNamespacedDeploymentScale({ namespace, name: "web" });
assert.equal(scale.spec.replicas, 1);
step("a deployment is patched in three ways");

const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const own = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "own", namespace }, data: { a: "1", b: "2" } };
const apply = (object, manager, force) =>
  objects.patch(object, undefined, undefined, manager, force, k8s.PatchStrategy.ServerSideApply);
const applied = await apply(own, "one", false);
assert.equal(applied.metadata.managedFields[0].manager, "one");
const fewer = await apply({ ...own, data: { a: "1" } }, "one", false);
assert.deepEqual(fewer.data, { a: "1" });
await refused(409, () => apply({ ...own, data: { a: "other" } }, "two", false));
const forced = await apply({ ...own, data: { a: "other" } }, "two", true);
assert.equal(forced.data.a, "other");
step("fields are applied on the server's side");

await core.deleteNamespace({ name: namespace });
step("a namespace is deleted");
process.exit(0);
