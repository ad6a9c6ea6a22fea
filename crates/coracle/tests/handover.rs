//! The running binary is replaced: nobody who connects or asks meanwhile notices.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is its failure")]

use std::{io::Write, net::TcpListener, process::Command};

use testkit::{
    Coracle, Crowd, Kubectl, Settings, apart, get,
    systems::{GATEWAY, HELLO, route},
};

/// Asks the Service again and again, and counts.
const CALLER: &str = r#"---
apiVersion: v1
kind: Pod
metadata: {name: caller}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: caller
    image: tools
    command:
    - bash
    - -c
    - |
      ask() { exec 3<>/dev/tcp/$HELLO_SERVICE_HOST/80 && printf 'GET / HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n' >&3 && cat <&3; }
      until ask | grep -q Hello; do sleep 0.1; done 2>/dev/null
      for ((n = 1; ; n++)); do
        answer=$(ask)
        case $answer in *Hello*) echo $n;; *) echo "failed: $answer";; esac
        sleep 0.05
      done
"#;

fn serving() -> Coracle {
    let rule = "{backendRefs: [{name: hello, port: 80}]}";
    Coracle::serving(env!("CARGO_BIN_EXE_coracle"), &[GATEWAY, HELLO, &route(rule)].concat()).unwrap()
}

#[test]
fn replacing_the_running_process_costs_no_connection_and_no_request() {
    let mut coracle = serving();
    let (address, shims) = (coracle.gateway(80).unwrap(), coracle.shims());
    let crowd = Crowd::new(address);
    crowd.more(50);
    for _ in 0..3 {
        let before = coracle.pid();
        coracle.replace(&[]).unwrap();
        assert_ne!(coracle.pid(), before);
        assert_eq!(coracle.gateway(80), Some(address));
        crowd.more(100);
    }
    assert_eq!(crowd.finish(), Vec::<String>::new());
    assert_eq!(coracle.shims(), shims, "the pods run on");
    // The kubeconfig from before the replacements holds: the API answers at the same address.
    if let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) {
        kubectl.run("get pods").unwrap();
    }
}

#[test]
fn isolated_pods_and_those_who_call_them_do_not_notice_a_replacement() {
    apart(|| {
        let mut settings = Settings::new(env!("CARGO_BIN_EXE_coracle"));
        settings.arguments = ["--runtime", "native", "--image", "tools=/bin/sh"].map(str::to_owned).into();
        let mut manifests = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        let caller = [GATEWAY, HELLO, &route("{backendRefs: [{name: hello, port: 80}]}"), CALLER].concat();
        manifests.write_all(caller.as_bytes()).unwrap();
        settings.arguments.extend(["-f".to_owned(), manifests.path().display().to_string()]);
        let mut coracle = Coracle::start(settings).unwrap();
        let Some(kubectl) = Kubectl::any(&coracle.kubeconfig()) else {
            return eprintln!("skipped: there is no kubectl on this machine");
        };
        let (crowd, shims) = (Crowd::new(coracle.gateway(80).unwrap()), coracle.shims());
        let asked = || kubectl.run("logs caller --tail=1").unwrap().trim().parse().unwrap_or(0_u64);
        crowd.more(50);
        for _ in 0..2 {
            let before = asked();
            coracle.replace(&[]).unwrap();
            crowd.more(100);
            while asked() < before + 5 {
                std::thread::yield_now();
            }
        }
        assert_eq!(crowd.finish(), Vec::<String>::new());
        let said = kubectl.run("logs caller").unwrap();
        assert!(!said.contains("failed"), "a pod's calls to a Service: {said}");
        assert_eq!(coracle.shims(), shims, "the pods run on");
        coracle.stop("INT").unwrap();
    });
}

#[test]
fn a_new_process_that_fails_leaves_the_old_one_serving() {
    let mut coracle = serving();
    let crowd = Crowd::new(coracle.gateway(80).unwrap());
    crowd.more(50);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let publish = format!("{}:81", taken.local_addr().unwrap().port());
    // The port that it is to publish as well is somebody else's.
    coracle.replace_in_vain(&["--replace", "--publish", &publish]).unwrap();
    coracle.wait_for("takenBack").unwrap();
    coracle.wait_for("up").unwrap();
    crowd.more(100);
    // And it can be replaced all the same.
    coracle.replace(&[]).unwrap();
    crowd.more(100);
    assert_eq!(crowd.finish(), Vec::<String>::new());
}

#[test]
fn a_signal_starts_the_next_version_of_the_program() {
    let mut coracle = serving();
    let crowd = Crowd::new(coracle.gateway(80).unwrap());
    crowd.more(50);
    let successor = coracle.upgrade().unwrap();
    crowd.more(100);
    assert_eq!(crowd.finish(), Vec::<String>::new());
    assert!(Command::new("kill").args(["-s", "INT", &successor.to_string()]).status().unwrap().success());
    coracle.wait_for("stopped").unwrap();
}

#[test]
fn a_second_process_that_does_not_ask_to_take_over_is_refused() {
    let coracle = serving();
    coracle.replace_in_vain(&[]).unwrap();
    assert!(get(coracle.gateway(80).unwrap(), "/").unwrap().starts_with("HTTP/1.1 200 "));
}
