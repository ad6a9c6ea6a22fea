//! Pods of the native runtime under a whole Coracle: namespaces, addresses, DNS, a crash, and nothing left behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{fs, io::Write, net::TcpStream, path::Path, process::Command};

use testkit::{Coracle, Kubectl, Settings, apart};

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  securityContext: {runAsUser: 65532}
  # The image is built into a program that lies there.
  volumes: [{name: cover, emptyDir: {}}]
  containers:
  - name: web
    image: hello
    ports: [{containerPort: 8000, hostPort: 8000}]
    resources: {limits: {memory: 64Mi, cpu: 500m}}
    volumeMounts: [{name: cover, mountPath: BINARIES}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: eater}
spec:
  restartPolicy: Never
  containers: [{name: eater, image: tools, command: [tail, /dev/zero], resources: {limits: {memory: 16Mi}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  securityContext: {runAsUser: 12345, fsGroup: 2000, seccompProfile: {type: RuntimeDefault}}
  volumes: [{name: cache, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]
  containers:
  - name: client
    image: tools
    volumeMounts: [{name: cache, mountPath: /cache}]
    command:
    - bash
    - -c
    - |
      ask() { exec 3<>/dev/tcp/web.default/8000 && printf 'GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n' >&3 && cat <&3; }
      # Through the service's address, which answers once the pod is ready.
      until ask | grep Hello; do sleep 0.1; done 2>/dev/null
      cd /cache && echo text > file && echo "$(stat -f -c %T .) file of $(stat -c %u:%g file)"
      echo "on $(cat /etc/hostname) with $(ls -d /proc/[0-9]* | wc -l) processes"
"#;

#[test]
fn isolated_pods_find_each_other_and_outlive_a_crash() {
    apart(|| {
        let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
        settings.arguments = ["--runtime", "native", "--image", "tools=/bin/sh"].map(str::to_owned).into();
        let mut coracle = Coracle::start(settings).unwrap();
        let Some(kubectl) = Kubectl::version("1.33", &coracle.kubeconfig()) else {
            return eprintln!("skipped: there is no kubectl 1.33 on this machine");
        };
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        let binaries = Path::new(env!("CARGO_BIN_EXE_coracle")).parent().unwrap();
        file.write_all(PODS.replace("BINARIES", binaries.to_str().unwrap()).as_bytes()).unwrap();
        kubectl.run(&format!("apply -f {}", file.path().display())).unwrap();
        kubectl.run("wait --timeout=60s pod/client --for=jsonpath={.status.phase}=Succeeded").unwrap();
        let said = kubectl.run("logs client").unwrap();
        assert!(said.contains("Hello World"), "{said}");
        assert!(said.contains("tmpfs file of 12345:2000"), "{said}");
        // Its first process, bash, what counts, and that one's subshell.
        assert!(said.contains("on client with") && processes(&said) < 8, "{said}");

        kubectl.run("wait --timeout=60s pod/eater --for=jsonpath={.status.phase}=Failed").unwrap();
        let path = "{.status.containerStatuses[0].state.terminated.reason}";
        assert_eq!(kubectl.run(&format!("get pod eater -o jsonpath={path}")).unwrap(), "OOMKilled");
        let events = kubectl.run("get events --field-selector reason=NotHonoured").unwrap();
        assert!(events.contains("not honoured here: containers[web].ports[*].hostPort"), "{events}");

        debugs(&kubectl);
        let address = kubectl.run("get pod web -o jsonpath={.status.podIP}").unwrap();
        assert!(address.starts_with("10.42."), "{address}");
        let before = run_of(&kubectl);
        coracle.kill().unwrap();
        assert!(get(&address).contains("Hello World"), "a pod outlives Coracle");
        coracle.start_again().unwrap();
        kubectl.run("wait --timeout=60s pod/web --for=condition=Ready").unwrap();
        assert_eq!(run_of(&kubectl), before, "it was taken back, not restarted");
        assert!(get(&address).contains("Hello World"));

        coracle.stop("INT").unwrap();
        assert!(TcpStream::connect((address.as_str(), 8000)).is_err(), "Ctrl-C ends the pods too");
        let links = Command::new("ip").args(["-brief", "link"]).output().unwrap();
        let links = String::from_utf8_lossy(&links.stdout).into_owned();
        assert_eq!(links.lines().count(), 1, "only the loopback link is left: {links}");
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let left: Vec<_> = mounts.lines().filter(|m| m.contains(coracle.data_dir().to_str().unwrap())).collect();
        assert!(left.is_empty(), "{left:#?}");
    });
}

/// A container that is added to a running pod sees the processes of the one that it is for.
fn debugs(kubectl: &Kubectl) {
    let mut debug = kubectl.command("debug web --image=tools --target=web --container=look -- sh -c");
    let added = debug.arg("tr '\\0' ' ' </proc/1/cmdline").output().unwrap();
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    kubectl
        .until("pod web -o jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.reason}", "Completed")
        .unwrap();
    let said = kubectl.run("logs web -c look").unwrap();
    assert!(said.trim().ends_with("/web.0"), "the first process is the other container's: {said}");
}

/// The number in "with N processes".
fn processes(said: &str) -> u32 {
    let words: Vec<&str> = said.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "processes").unwrap();
    words[at - 1].parse().unwrap()
}

/// When the web pod's container started, and how often it was restarted.
fn run_of(kubectl: &Kubectl) -> String {
    let path = "{.status.containerStatuses[0].restartCount}/{.status.containerStatuses[0].state.running.startedAt}";
    kubectl.run(&format!("get pod web -o jsonpath={path}")).unwrap()
}

/// The answer of the hello service at an address.
fn get(address: &str) -> String {
    testkit::get((address, 8000), "/").unwrap()
}
