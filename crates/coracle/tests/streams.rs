//! `kubectl exec`, `cp`, `attach`, `port-forward` and `debug` against a running Coracle, over SPDY (1.20, 1.28) and WebSocket (1.31,
//! 1.33).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, Output, Stdio},
    thread,
};

use testkit::{Coracle, Kubectl, find, with_every_kubectl};

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: main}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: hello, command: [sh, -c, "exec sleep 1000"], env: [{name: GREETING, value: hello}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: hello, stdin: true, stdinOnce: true, command: [cat]}]
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: web, image: hello, ports: [{containerPort: 8000}]}]
"#;

/// The bytes of one large transfer.
const LARGE: usize = 20 * 1024 * 1024;

#[test]
fn running_programs_have_streams() {
    let tried = with_every_kubectl(env!("CARGO_BIN_EXE_coracle"), |kubectl, coracle| {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        file.write_all(PODS.as_bytes()).unwrap();
        kubectl.run(&format!("apply -f {}", file.path().display())).unwrap();
        kubectl.run("wait --timeout=60s --for=condition=Ready pod/main pod/reader pod/web").unwrap();
        runs(kubectl);
        refuses(kubectl);
        has_a_terminal(kubectl);
        copies(kubectl);
        ends_with_its_client(kubectl, coracle);
        attaches(kubectl);
        forwards(kubectl);
        debugs(kubectl);
    });
    tried.unwrap();
}

/// What kubectl says and how it ends, given this input.
fn given(kubectl: &Kubectl, arguments: &str, script: &[&str], input: &[u8]) -> Output {
    let mut command = kubectl.command(arguments);
    let mut child =
        command.args(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let fed = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    fed.join().unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn runs(kubectl: &Kubectl) {
    let said = given(kubectl, "exec main -- sh -c", &["echo $GREETING; echo trouble >&2; exit 3"], b"");
    assert_eq!((said.status.code(), text(&said.stdout)), (Some(3), "hello\n".to_owned()));
    assert!(text(&said.stderr).contains("trouble\n"), "{}", text(&said.stderr));
    let large: Vec<u8> = (0..LARGE).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    let same = given(kubectl, "exec -i main -- cat", &[], &large);
    assert!(same.status.success() && same.stdout == large, "{} bytes came back", same.stdout.len());
    // Nobody reads what is sent; it ends all the same.
    let deaf = given(kubectl, "exec -i main -- sh -c", &["exec <&-; echo done"], &large);
    assert_eq!(text(&deaf.stdout), "done\n");
}

fn refuses(kubectl: &Kubectl) {
    for (arguments, words) in [
        ("exec nope -- true", "pods \"nope\" not found"),
        ("exec main -c nope -- true", "container nope is not valid for pod main"),
        ("exec main -- no-such-program", "executable file not found in $PATH"),
    ] {
        let error = kubectl.run(arguments).unwrap_err();
        assert!(error.contains(words), "{arguments}: {error}");
    }
}

/// `script` gives kubectl a terminal.
fn has_a_terminal(kubectl: &Kubectl) {
    let Some(script) = find("script") else { return eprintln!("skipped: there is no script on this machine") };
    let exec = kubectl.command("exec -it main -- sh");
    let words: Vec<String> = std::iter::once(exec.get_program())
        .chain(exec.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut command = std::process::Command::new(script);
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    // The terminal changes its size once the program has seen the first one.
    let resize = format!("(until [ -e {} ]; do sleep 0.05; done; stty rows 40 cols 90 </dev/tty) &", seen.display());
    let line = format!("stty rows 33 cols 101; {resize} {}", words.join(" "));
    let environment: Vec<_> = exec.get_envs().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut child = command
        .args(["-qec", &line, "/dev/null"])
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sees = |size: &str| format!("until stty size | grep '{size}'; do sleep 0.05; done");
    let typed = format!("{}; touch {}; {}; tty && exit 7\n", sees("33 101"), seen.display(), sees("40 90"));
    stdin.write_all(typed.as_bytes()).unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_to_string(&mut said).unwrap();
    // A prompt may stand before the first of them; what was typed ends its lines in another way.
    for part in ["33 101\r\n", "40 90\r\n", "/dev/pts/"] {
        assert!(said.contains(part), "1.{} {part}: {said}", kubectl.minor());
    }
    assert_eq!(child.wait().unwrap().code(), Some(7), "{said}");
}

fn copies(kubectl: &Kubectl) {
    if find("tar").is_none() {
        return eprintln!("skipped: there is no tar on this machine");
    }
    let dir = tempfile::tempdir().unwrap();
    let [from, there, back] = ["from", "there", "back"].map(|name| dir.path().join(name));
    fs::write(&from, vec![7; 1_000_000]).unwrap();
    // Pods without isolation share the machine's files, so this is a path that nothing else has.
    kubectl.run(&format!("cp {} main:{}", from.display(), there.display())).unwrap();
    kubectl.run(&format!("cp main:{} {}", there.display(), back.display())).unwrap();
    assert_eq!(fs::read(&back).unwrap(), fs::read(&from).unwrap());
}

/// How many processes have this in their arguments, apart from those that were asked to start them.
fn sleepers(mark: &str) -> usize {
    let is_sleep = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep");
    testkit::processes::with_argument(mark).iter().filter(|pid| is_sleep(pid)).count()
}

fn ends_with_its_client(kubectl: &Kubectl, coracle: &Coracle) {
    let mark = format!("1{}", coracle.pid());
    let mut child = kubectl.command(&format!("exec -i main -- sleep {mark}")).stdin(Stdio::piped()).spawn().unwrap();
    while sleepers(&mark) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while sleepers(&mark) > 0 {
        thread::yield_now();
    }
}

fn attaches(kubectl: &Kubectl) {
    let said = given(kubectl, "attach -i reader", &[], b"one\ntwo\n");
    assert_eq!(text(&said.stdout), "one\ntwo\n", "{}", text(&said.stderr));
    kubectl.until("pod/reader -o jsonpath={.status.phase}", "Succeeded").unwrap();
    assert_eq!(kubectl.run("logs reader").unwrap(), "one\ntwo\n");
}

/// A forwarded port, and where it is.
struct Forward(Child, SocketAddr);

impl Forward {
    fn start(kubectl: &Kubectl, what: &str) -> Self {
        let command = format!("port-forward {what}");
        let mut child = kubectl.command(&command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().nth(2).and_then(|address| address.parse().ok());
        Self(child, address.unwrap_or_else(|| panic!("{line:?}")))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn forwards(kubectl: &Kubectl) {
    let forward = Forward::start(kubectl, "pod/web :8000");
    let address = forward.1;
    let ask = move || testkit::get(address, "/").unwrap();
    let clients: Vec<_> = (0..8).map(|_| thread::spawn(ask)).collect();
    for client in clients {
        assert!(client.join().unwrap().contains("Hello World"));
    }
    // What does not listen is an error for its client, and nobody else's.
    let dead = Forward::start(kubectl, "pod/web :1");
    let mut stream = TcpStream::connect(dead.1).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // It may be reset, too.
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
    assert!(testkit::get(address, "/").unwrap().contains("Hello World"));
}

fn debugs(kubectl: &Kubectl) {
    if kubectl.minor() < 23 {
        // The older ones send a kind of its own, which the API has had until 1.22 only.
        return;
    }
    kubectl.run("debug main --image=hello --container=look -- echo looked").unwrap();
    let path = "{.status.ephemeralContainerStatuses[0].state.terminated.reason}";
    kubectl.until(&format!("pod/main -o jsonpath={path}"), "Completed").unwrap();
    assert_eq!(kubectl.run("logs main -c look").unwrap(), "looked\n");
    assert_eq!(kubectl.run("get pod main -o jsonpath={.status.phase}").unwrap(), "Running");
}
