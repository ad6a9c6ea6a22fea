"""The official Python client against a running Coracle: objects, watches, patches, server-side apply.

Takes the kubeconfig from KUBECONFIG; says each step that it has done, and ends with an error at the first that fails.
"""

from kubernetes import client, config, dynamic, watch
from kubernetes.client import api_client


def step(text):
    print("ok:", text, flush=True)


def refused(code, call):
    """The message of a call that must be refused with this status."""
    try:
        call()
    except client.ApiException as error:
        assert error.status == code, (error.status, error.body)
        return error.body
    raise AssertionError(f"it was not refused with {code}")


def main():
    config.load_kube_config()
    core, apps = client.CoreV1Api(), client.AppsV1Api()

    version = client.VersionApi().get_code()
    assert int(version.major) == 1 and int(version.minor) >= 28, version
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"apps", "discovery.k8s.io", "gateway.networking.k8s.io"} <= groups, groups
    step("versions and groups are read")

    core.create_namespace({"metadata": {"name": "python", "labels": {"team": "a"}}})
    for name in "abcde":
        body = {"metadata": {"name": name, "labels": {"odd": "yes" if name in "ace" else "no"}}, "data": {"k": name}}
        core.create_namespaced_config_map("python", body)
    chosen = core.list_namespaced_config_map("python", label_selector="odd=yes")
    assert [item.metadata.name for item in chosen.items] == ["a", "c", "e"], chosen
    assert "already exists" in refused(409, lambda: core.create_namespaced_config_map("python", body))
    assert "not found" in refused(404, lambda: core.read_namespaced_config_map("none", "python"))
    step("objects are created and selected")

    page = core.list_namespaced_config_map("python", limit=2)
    names = [item.metadata.name for item in page.items]
    while page.metadata._continue:
        page = core.list_namespaced_config_map("python", limit=2, _continue=page.metadata._continue)
        names += [item.metadata.name for item in page.items]
    assert set("abcde") <= set(names) and len(names) == len(set(names)), names
    step("a list comes in pages")

    start = core.list_namespaced_config_map("python").metadata.resource_version
    core.patch_namespaced_config_map("a", "python", {"data": {"k": "new", "more": "x"}})
    core.delete_namespaced_config_map("b", "python")
    seen = []
    for event in watch.Watch().stream(
        core.list_namespaced_config_map, "python", resource_version=start, timeout_seconds=30
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 2:
            break
    assert seen == [("MODIFIED", "a"), ("DELETED", "b")], seen
    step("a watch goes on from a version")

    deployment = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "hello"}, {"name": "side", "image": "hello"}]},
            },
        },
    }
    made = apps.create_namespaced_deployment("python", deployment)
    assert made.spec.strategy.type == "RollingUpdate" and made.spec.revision_history_limit == 10, made
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "hello:2"}]}}}}
    made = apps.patch_namespaced_deployment("web", "python", strategic)
    assert [c.image for c in made.spec.template.spec.containers] == ["hello:2", "hello"] or [
        c.image for c in made.spec.template.spec.containers
    ] == ["hello", "hello:2"], made
    operations = [{"op": "replace", "path": "/spec/minReadySeconds", "value": 3}]
    refused(422, lambda: apps.patch_namespaced_deployment("web", "python", operations))
    operations[0]["op"] = "add"
    assert apps.patch_namespaced_deployment("web", "python", operations).spec.min_ready_seconds == 3
    scale = apps.patch_namespaced_deployment_scale("web", "python", {"spec": {"replicas": 1}})
    assert scale.spec.replicas == 1, scale
    made = apps.read_namespaced_deployment("web", "python")
    made.spec.replicas = 0
    # The controller may have written in between: this replaces whatever version there is.
    made.metadata.resource_version = None
    assert apps.replace_namespaced_deployment("web", "python", made).spec.replicas == 0
    made.metadata.resource_version = "1"
    assert "the object has been modified" in refused(
        409, lambda: apps.replace_namespaced_deployment("web", "python", made)
    )
    step("a deployment is patched, scaled and replaced")

    stubs = dynamic.DynamicClient(api_client.ApiClient())
    maps = stubs.resources.get(api_version="v1", kind="ConfigMap")
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}, "data": {"a": "1", "b": "2"}}
    applied = maps.server_side_apply(body=wanted, namespace="python", field_manager="one")
    assert applied.metadata.managedFields[0].manager == "one", applied
    del wanted["data"]["b"]
    applied = maps.server_side_apply(body=wanted, namespace="python", field_manager="one")
    assert applied.data.to_dict() == {"a": "1"}, applied
    wanted["data"]["a"] = "other"
    try:
        maps.server_side_apply(body=wanted, namespace="python", field_manager="two")
        raise AssertionError("there was no conflict")
    except dynamic.exceptions.ConflictError:
        pass
    applied = maps.server_side_apply(body=wanted, namespace="python", field_manager="two", force_conflicts=True)
    assert applied.data.a == "other", applied
    step("fields are applied on the server's side")

    routes = stubs.resources.get(api_version="gateway.networking.k8s.io/v1", kind="HTTPRoute")
    routes.create(namespace="python", body={"metadata": {"name": "r"}, "spec": {"hostnames": ["a.example"]}})
    assert routes.get(name="r", namespace="python").spec.hostnames == ["a.example"]
    step("custom resources are found by discovery")

    deleted = core.delete_collection_namespaced_config_map("python", label_selector="odd=no")
    assert deleted is not None
    core.delete_namespace("python")
    step("a namespace is deleted")


main()
