//! What people type, command by command, with every generation of kubectl: Debian's 1.20, 1.28, 1.31 and 1.33. A row says since
//! which version the command is there, and what it must print.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::process::Stdio;

use testkit::{Coracle, Kubectl};

fn with_every_kubectl(test: impl Fn(&Kubectl, &Coracle)) {
    testkit::with_every_kubectl(env!("CARGO_BIN_EXE_coracle"), test).unwrap();
}

/// What a command must do.
enum Must {
    /// Succeed, and print this.
    Say(&'static str),
    /// Fail, and print this.
    Fail(&'static str),
}
use Must::{Fail, Say};

/// A command, the minor version since which it is there, and what it must do.
type Row = (u32, &'static str, Must);

/// Every version has it.
const ALWAYS: u32 = 0;

fn follow(kubectl: &Kubectl, rows: &[Row]) {
    for (since, command, must) in rows {
        if kubectl.minor() < *since {
            continue;
        }
        let said = kubectl.run(command);
        let version = kubectl.minor();
        match (must, said) {
            (Say(part), Ok(said)) => assert!(said.contains(part), "1.{version} {command}: no {part:?} in {said}"),
            (Fail(part), Err(said)) => assert!(said.contains(part), "1.{version} {command}: no {part:?} in {said}"),
            (Say(_), Err(said)) => panic!("1.{version} {said}"),
            (Fail(_), Ok(said)) => panic!("1.{version} {command} succeeded: {said}"),
        }
    }
}

const OBJECTS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: web}}
data: {one: "1"}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "hello:1", env: [{name: A, value: "1"}]}]}
"#;

#[test]
fn objects_are_read_in_every_form() {
    with_every_kubectl(|kubectl, _| {
        assert!(kubectl.send("apply", OBJECTS).unwrap().contains("deployment.apps/web created"));
        follow(
            kubectl,
            &[
                (ALWAYS, "get cm,svc,deploy", Say("deployment.apps/web ")),
                (ALWAYS, "get deploy -o wide", Say("CONTAINERS")),
                (ALWAYS, "get deploy web -o yaml", Say("revisionHistoryLimit: 10")),
                (ALWAYS, "get deploy web -o json", Say("\"kind\": \"Deployment\"")),
                (ALWAYS, "get deploy -o name", Say("deployment.apps/web")),
                (ALWAYS, "get svc web -o jsonpath={.spec.ports[0].targetPort}", Say("8000")),
                (ALWAYS, "get svc -o jsonpath={.items[?(@.metadata.name==\"web\")].spec.selector.app}", Say("web")),
                (ALWAYS, "get cm settings -o go-template={{.data.one}}", Say("1")),
                (ALWAYS, "get cm -o custom-columns=N:.metadata.name,D:.data.one", Say("settings")),
                (ALWAYS, "get cm --sort-by=.metadata.name --show-labels", Say("app=web")),
                (ALWAYS, "get cm -l app=web -L app", Say("APP")),
                (ALWAYS, "get cm --chunk-size=1 -A --no-headers", Say("settings")),
                (ALWAYS, "get cm --field-selector=metadata.name=settings -o name", Say("configmap/settings")),
                (ALWAYS, "get nodes -o wide", Say("INTERNAL-IP")),
                (ALWAYS, "get all", Say("service/web")),
                (ALWAYS, "get --raw /version", Say("\"gitVersion\"")),
                (ALWAYS, "get none", Fail("the server doesn't have a resource type \"none\"")),
                (ALWAYS, "get cm none", Fail("configmaps \"none\" not found")),
                (ALWAYS, "describe cm settings", Say("one:")),
                (ALWAYS, "describe svc web", Say("TargetPort:")),
                (ALWAYS, "describe deploy web", Say("StrategyType:")),
                (ALWAYS, "describe ns default", Say("Active")),
                (ALWAYS, "describe nodes", Say("Capacity:")),
                (ALWAYS, "describe sa default", Say("Name:")),
                (ALWAYS, "api-resources", Say("deployments")),
                (ALWAYS, "api-resources --api-group=apps -o name", Say("replicasets.apps")),
                (ALWAYS, "api-versions", Say("gateway.networking.k8s.io/v1\n")),
                (ALWAYS, "version", Say("v1.33")),
                (ALWAYS, "cluster-info", Say("https://127.0.0.1:")),
                (ALWAYS, "cluster-info dump", Say("\"kind\": \"NodeList\"")),
                (ALWAYS, "auth can-i create deployments", Say("yes")),
                (ALWAYS, "auth can-i --list", Say("*.*")),
                (28, "auth whoami", Say("system:admin")),
                (ALWAYS, "top pods", Say("")),
                (ALWAYS, "top nodes", Say("CPU(cores)")),
                (28, "events", Say("")),
                (ALWAYS, "get events", Say("")),
            ],
        );
    });
}

#[test]
fn every_kind_is_explained_with_all_its_fields() {
    with_every_kubectl(|kubectl, _| {
        // These read version 2 of OpenAPI and version 3; those between do as the last.
        let version = kubectl.minor();
        let reads = version == 20 || version > 31;
        let resources = if reads { kubectl.run("api-resources --no-headers").unwrap() } else { String::new() };
        for row in resources.lines() {
            let columns: Vec<&str> = row.split_whitespace().collect();
            let at = columns[columns.len() - 3];
            // What is measured and not stored has no schema here.
            if at.contains("metrics.k8s.io") {
                continue;
            }
            // That one has no such column: it names the group only.
            let of = if at.contains('/') { format!("--api-version={at}") } else { String::new() };
            let explained = kubectl.run(&format!("explain {} --recursive {of}", columns[0]));
            let text = explained.unwrap_or_else(|said| panic!("1.{version}: {said}"));
            // Of kinds without a schema version 2 says nothing: the older ones would take it for all there is.
            let has_fields = text.contains("metadata") || version == 20 && text.contains("<empty>");
            assert!(text.contains("KIND:") && has_fields, "1.{version} explain {row}: {text}");
        }
        follow(
            kubectl,
            &[
                (ALWAYS, "explain deployment.spec.strategy.rollingUpdate", Say("maxSurge")),
                (ALWAYS, "explain pod.spec.containers.livenessProbe.httpGet.port", Say("port")),
                (ALWAYS, "explain pod.spec.containers.resources.limits", Say("limits")),
                (ALWAYS, "explain hpa --api-version=autoscaling/v1", Say("VERSION:")),
                (ALWAYS, "explain pod.spec.none", Fail("none")),
            ],
        );
    });
}

#[test]
fn objects_are_changed_with_every_command() {
    with_every_kubectl(|kubectl, _| {
        kubectl.send("apply", OBJECTS).unwrap();
        assert_eq!(kubectl.send("diff", OBJECTS).unwrap(), "");
        let changed = OBJECTS.replace("one: \"1\"", "one: \"2\"");
        assert!(kubectl.send("diff", &changed).unwrap_err().contains("+  one: \"2\""));
        assert!(kubectl.send("apply --dry-run=server", &changed).unwrap().contains("(server dry run)"));
        assert!(kubectl.send("apply --dry-run=client", &changed).unwrap().contains("(dry run)"));
        assert!(kubectl.send("apply", &changed).unwrap().contains("configmap/settings configured"));
        assert!(kubectl.send("replace", OBJECTS).unwrap().contains("configmap/settings replaced"));
        assert!(
            kubectl
                .send("replace --force", &OBJECTS.replace("web, image", "web2, image"))
                .unwrap()
                .contains("replaced")
        );
        kubectl.send("replace --force", OBJECTS).unwrap();
        let unknown = kubectl.send("apply", &OBJECTS.replace("replicas: 0", "replcas: 0")).unwrap_err();
        assert!(unknown.contains("replcas"), "{unknown}");
        follow(
            kubectl,
            &[
                (ALWAYS, "patch deploy web -p {\"spec\":{\"minReadySeconds\":1}}", Say("patched")),
                (ALWAYS, "patch deploy web --type=merge -p {\"spec\":{\"minReadySeconds\":2}}", Say("patched")),
                (
                    ALWAYS,
                    "patch deploy web --type=json -p [{\"op\":\"remove\",\"path\":\"/spec/minReadySeconds\"}]",
                    Say("patched"),
                ),
                (ALWAYS, "label cm settings team=a", Say("configmap/settings labeled")),
                (ALWAYS, "label cm settings team=b", Fail("already has a value")),
                (ALWAYS, "label cm settings team=b --overwrite", Say("configmap/settings")),
                (ALWAYS, "get cm -l team=b -o name", Say("configmap/settings")),
                (ALWAYS, "label cm settings team-", Say("configmap/settings")),
                (ALWAYS, "annotate cm settings note=a", Say("configmap/settings annotate")),
                (ALWAYS, "annotate cm settings note-", Say("configmap/settings annotate")),
                (ALWAYS, "set image deploy/web web=hello:2", Say("image updated")),
                (ALWAYS, "set env deploy/web B=2 A-", Say("env updated")),
                (ALWAYS, "set env deploy/web --list", Say("B=2")),
                (
                    ALWAYS,
                    "set resources deploy/web --limits=cpu=100m,memory=64Mi",
                    Say("resource requirements updated"),
                ),
                (ALWAYS, "set serviceaccount deploy/web default", Say("serviceaccount updated")),
                (ALWAYS, "set selector svc/web app=other", Say("selector updated")),
                (ALWAYS, "scale deploy/web --replicas=0", Say("scaled")),
                (ALWAYS, "scale deploy/web --current-replicas=7 --replicas=1", Fail("Expected replicas to be 7")),
                (ALWAYS, "autoscale deploy/web --min=1 --max=3 --cpu-percent=70", Say("autoscaled")),
                (ALWAYS, "get hpa web", Say("Deployment/web")),
                (ALWAYS, "describe hpa web", Say("70%")),
                (ALWAYS, "rollout history deploy/web", Say("REVISION")),
                (ALWAYS, "rollout undo deploy/web", Say("rolled back")),
                (ALWAYS, "rollout pause deploy/web", Say("paused")),
                (ALWAYS, "rollout resume deploy/web", Say("resumed")),
                (ALWAYS, "rollout restart deploy/web", Say("restarted")),
                (ALWAYS, "rollout status deploy/web --timeout=60s", Say("successfully rolled out")),
                (ALWAYS, "delete cm settings", Say("configmap \"settings\" deleted")),
                (ALWAYS, "delete cm settings --ignore-not-found", Say("")),
                (ALWAYS, "delete deploy,svc,hpa -l app=web --cascade=foreground", Say("deleted")),
                (ALWAYS, "delete hpa --all", Say("")),
            ],
        );
    });
}

#[test]
fn typed_commands_make_what_they_name() {
    with_every_kubectl(|kubectl, _| {
        follow(
            kubectl,
            &[
                (ALWAYS, "create namespace team", Say("namespace/team created")),
                (ALWAYS, "create configmap c --from-literal=a=b", Say("created")),
                (ALWAYS, "create secret generic s --from-literal=a=b", Say("created")),
                (
                    ALWAYS,
                    "create secret docker-registry r --docker-server=x --docker-username=u --docker-password=p",
                    Say("created"),
                ),
                (ALWAYS, "create serviceaccount sa", Say("created")),
                (ALWAYS, "create service clusterip a --tcp=80:8080", Say("created")),
                (ALWAYS, "create service nodeport b --tcp=80:8080", Say("created")),
                (ALWAYS, "create service externalname c --external-name=example.com", Say("created")),
                (ALWAYS, "create deployment d --image=hello --replicas=0", Say("created")),
                (ALWAYS, "expose deploy d --port=80 --target-port=8080", Say("exposed")),
                (ALWAYS, "create job j --image=hello", Say("created")),
                (28, "create cronjob k --image=hello --schedule=@daily", Say("created")),
                (ALWAYS, "create role reader --verb=get,list --resource=pods", Say("created")),
                (ALWAYS, "create clusterrole reader --verb=get --resource=nodes", Say("created")),
                (ALWAYS, "create rolebinding readers --role=reader --serviceaccount=default:sa", Say("created")),
                (ALWAYS, "create clusterrolebinding readers --clusterrole=reader --user=jane", Say("created")),
                (ALWAYS, "create quota q --hard=pods=10", Say("created")),
                (28, "create poddisruptionbudget p --selector=app=d --min-available=1", Say("created")),
                (ALWAYS, "create priorityclass high --value=1000 --description=x", Say("created")),
                (ALWAYS, "create ingress i --rule=web.example/*=d:80", Say("created")),
                (28, "create token sa --duration=10m", Say("ey")),
                (ALWAYS, "run one --image=hello --command -- sleep 1000", Say("pod/one created")),
                (ALWAYS, "wait pod/one --for=condition=Ready --timeout=60s", Say("condition met")),
                (ALWAYS, "describe pod one", Say("Running")),
                (ALWAYS, "get job,role,rolebinding,quota,ingress", Say("ingress.networking.k8s.io/i")),
                (
                    ALWAYS,
                    "get clusterrole,clusterrolebinding,priorityclass",
                    Say("priorityclass.scheduling.k8s.io/high"),
                ),
                (ALWAYS, "describe ingress i", Say("web.example")),
                (ALWAYS, "describe role reader", Say("pods")),
                (ALWAYS, "get quota q -o yaml", Say("pods: \"10\"")),
                (ALWAYS, "describe job j", Say("Parallelism:")),
                (ALWAYS, "describe secret s", Say("Opaque")),
                (ALWAYS, "delete pod one --now", Say("deleted")),
                (28, "wait pod/one --for=delete --timeout=60s", Say("")),
                (ALWAYS, "delete namespace team", Say("namespace \"team\" deleted")),
            ],
        );
    });
}

#[test]
fn a_node_is_cordoned_tainted_and_drained() {
    with_every_kubectl(|kubectl, _| {
        kubectl.run("run one --image=hello --command -- sleep 1000").unwrap();
        kubectl.run("wait pod/one --for=condition=Ready --timeout=60s").unwrap();
        let node = kubectl.run("get nodes -o jsonpath={.items[0].metadata.name}").unwrap();
        let on_node = |command: &str| kubectl.run(&command.replace("NODE", &node));
        assert!(on_node("taint nodes NODE a=b:NoSchedule").unwrap().contains("tainted"));
        assert!(on_node("taint nodes NODE a=b:NoSchedule-").unwrap().contains("untainted"));
        assert!(on_node("cordon NODE").unwrap().contains("cordoned"));
        assert!(kubectl.run("get nodes").unwrap().contains("SchedulingDisabled"));
        assert!(on_node("drain NODE --force --ignore-daemonsets --timeout=60s").unwrap().contains("pod/one evicted"));
        assert!(on_node("uncordon NODE").unwrap().contains("uncordoned"));
        assert!(kubectl.run("logs none").unwrap_err().contains("not found"));
    });
}

#[test]
fn the_api_is_reached_at_the_address_of_its_service() {
    with_every_kubectl(|kubectl, _| {
        let address = kubectl.run("get svc kubernetes -o jsonpath={.spec.clusterIP}").unwrap();
        let info = kubectl.run("get endpoints kubernetes -o jsonpath={.subsets[0].ports[0].name}").unwrap();
        assert_eq!(info, "https");
        assert!(kubectl.run("get endpointslice kubernetes").unwrap().contains("IPv4"));
        // The gateway begins to listen there when it has seen the service.
        let mut seen = Err(String::new());
        for _ in 0..200 {
            seen = kubectl.run(&format!("get ns --server=https://{address}:443"));
            if seen.is_ok() {
                break;
            }
        }
        assert!(seen.unwrap().contains("kube-system"));
    });
}

const GUARDED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: web, image: hello, command: [sleep, '1000']}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
";

#[test]
fn a_drain_waits_for_what_a_disruption_budget_allows() {
    with_every_kubectl(|kubectl, _| {
        kubectl.send("apply", GUARDED).unwrap();
        kubectl.run("rollout status deploy/web --timeout=60s").unwrap();
        kubectl.until("pdb web -o jsonpath={.status.disruptionsAllowed}", "1").unwrap();
        assert!(kubectl.run("get pdb web").unwrap().contains("ALLOWED DISRUPTIONS"));
        let node = kubectl.run("get nodes -o jsonpath={.items[0].metadata.name}").unwrap();
        let drained = kubectl.run(&format!("drain {node} --ignore-daemonsets --timeout=3s")).unwrap_err();
        let why = "Cannot evict pod as it would violate the pod's disruption budget.";
        assert!(drained.contains(why) && drained.contains("evicted"), "1.{}: {drained}", kubectl.minor());
        assert_eq!(kubectl.run("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}").unwrap().trim(), node);
        kubectl.run("delete pdb web").unwrap();
        kubectl.run(&format!("drain {node} --ignore-daemonsets --timeout=60s")).unwrap();
        kubectl.run(&format!("uncordon {node}")).unwrap();
        kubectl.run("rollout status deploy/web --timeout=60s").unwrap();
        kubectl.run("delete deploy web").unwrap();
    });
}

#[test]
fn what_is_left_out_of_a_manifest_is_pruned() {
    with_every_kubectl(|kubectl, _| {
        let map = |name: &str| {
            format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{set: one}}}}\n")
        };
        let list = if kubectl.minor() < 26 { "--prune-whitelist" } else { "--prune-allowlist" };
        let apply = format!("apply --prune -l set=one {list}=core/v1/ConfigMap");
        kubectl.send(&apply, &format!("{}{}", map("a"), map("b"))).unwrap();
        let said = kubectl.send(&apply, &map("a")).unwrap();
        assert!(said.contains("configmap/b pruned"), "{said}");
        if kubectl.minor() < 28 {
            return;
        }
        // Its default list names every kind it may prune: one that is missing would fail it.
        let said = kubectl.send("apply --prune -l set=one", &map("c")).unwrap();
        assert!(said.contains("configmap/a pruned"), "{said}");
        let set = |manifest: &str| {
            let mut command = kubectl.command("apply -n default --prune --applyset=web -f -");
            let mut child =
                command.env("KUBECTL_APPLYSET", "true").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), manifest.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "1.{}", kubectl.minor());
            String::from_utf8(output.stdout).unwrap()
        };
        set(&format!("{}{}", map("first"), map("second")));
        assert!(set(&map("first")).contains("configmap/second pruned"));
        assert!(
            kubectl.run("get secret web -o jsonpath={.metadata.labels}").unwrap().contains("applyset.kubernetes.io/id")
        );
    });
}

#[test]
fn a_kustomization_is_built_applied_and_deleted() {
    with_every_kubectl(|kubectl, _| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("all.yaml"), OBJECTS).unwrap();
        std::fs::write(folder.path().join("kustomization.yaml"), "namePrefix: my-\nresources: [all.yaml]\n").unwrap();
        let at = folder.path().display();
        assert!(kubectl.run(&format!("kustomize {at}")).unwrap().contains("name: my-web"));
        assert!(kubectl.run(&format!("apply -k {at}")).unwrap().contains("deployment.apps/my-web created"));
        assert!(kubectl.run(&format!("delete -k {at}")).unwrap().contains("\"my-web\" deleted"));
    });
}
