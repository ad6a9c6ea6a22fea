//! What every runtime does, on the real machine: one suite, run on each.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use node::runtime::{ContainerId, Runtime, RuntimeError, loopback::Loopback};
use support::{NoNetwork, Pod, native, running, shim, until};

/// The suite.
async fn behaves(runtime: &dyn Runtime, again: &dyn Runtime, dir: &Path) {
    let pod = Pod::new(runtime, dir).await;

    // It ends by itself: its code, its environment, its two streams.
    let id = pod.start("ends", "echo $GREETING; echo trouble >&2; exit 3").await;
    assert_eq!(runtime.wait(&id).await.unwrap().code, 3);
    assert!(pod.log("ends").contains(" stdout F hello\n") && pod.log("ends").contains(" stderr F trouble\n"));
    runtime.remove(&id).await.unwrap();

    // It is told to end.
    let id = pod.start("told", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done").await;
    until(|| pod.log("told").contains("ready")).await;
    runtime.signal(&id, 15).await.unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap().code, 0);
    assert!(pod.log("told").contains(" stdout F bye\n"));

    // It does not listen.
    let id = pod.start("deaf", "exec sleep 1000").await;
    runtime.signal(&id, 15).await.unwrap();
    let exit = runtime.wait(&id).await.unwrap();
    assert_eq!((exit.code, exit.signal), (143, Some(15)));

    // What does not exist cannot start.
    let missing = runtime.start(&pod.spec("missing", &["/nonexistent"])).await;
    assert!(matches!(missing, Err(RuntimeError::Start { .. })), "{missing:?}");

    // A program inside, and one that takes too long.
    let id = pod.start("lives", "sleep 1000 & echo begun; wait").await;
    let exec = |script: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
    let said = runtime.exec(&id, &exec("echo $GREETING; exit 4"), Duration::from_secs(10), 100).await.unwrap();
    assert_eq!((said.code, said.output.as_slice()), (4, b"hello\n".as_slice()));
    let slow = runtime.exec(&id, &exec("sleep 1000"), Duration::from_millis(50), 100).await;
    assert!(matches!(slow, Err(RuntimeError::Timeout(_))), "{slow:?}");
    until(|| running(dir) == 2).await;

    // What it has used is known, that of the processes that have ended too.
    let burns =
        "for i in 1 2 3; do sh -c 'i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done'; done; echo burnt; sleep 1000";
    let burner = pod.start("burner", burns).await;
    until(|| pod.log("burner").contains("burnt")).await;
    let unknown = ContainerId { name: "unknown".to_owned(), ..burner.clone() };
    let asked = [burner.clone(), unknown.clone(), id.clone()];
    let used = runtime.usage(&asked);
    let (burnt, idle) = (used[0].unwrap(), used[2].unwrap());
    assert!(burnt.cpu_nanos >= 20_000_000 && burnt.cpu_nanos > idle.cpu_nanos, "{burnt:?} {idle:?}");
    assert!(burnt.memory.working_set > 0 && burnt.memory.usage >= burnt.memory.working_set, "{burnt:?}");
    assert_eq!(used[1], None);
    let later = runtime.usage(&asked)[0].unwrap();
    assert!(later.at > burnt.at && later.cpu_nanos >= burnt.cpu_nanos, "{burnt:?} {later:?}");
    runtime.kill(&burner).await.unwrap();
    runtime.wait(&burner).await.unwrap();
    assert_eq!(runtime.usage(&asked)[0], None, "it has ended");
    runtime.remove(&burner).await.unwrap();

    // Another Coracle finds it, and ends it with all it started.
    until(|| pod.log("lives").lines().count() == 1).await;
    let found = again.recover().await.unwrap();
    let lives = found[0].1.iter().find(|run| run.id == id).unwrap();
    assert_eq!(lives.exit, None);
    again.kill(&id).await.unwrap();
    let exit = again.wait(&id).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    assert_eq!(running(dir), 0, "what it started must be gone too");

    // A Coracle that is killed while it starts one: the next one finds it, or that it could not be started.
    let spec = pod.spec("begun", &["/bin/sh", "-c", "exec sleep 1000"]);
    // Where the machine stalls, it may have started when the time is up; then it is found as well.
    _ = tokio::time::timeout(Duration::from_micros(1), runtime.start(&spec)).await;
    let found = again.recover().await.unwrap();
    assert!(found[0].1.iter().any(|run| run.id == spec.id && run.exit.is_none()), "{found:?}");
    assert_eq!(again.start(&spec).await.unwrap().exit, None);
    // It is not started twice. While it becomes another program its environment cannot be read.
    until(|| running(dir) == 1).await;
    again.kill(&spec.id).await.unwrap();
    again.wait(&spec.id).await.unwrap();

    // Taking the pod away ends what still runs.
    let id = pod.start("left", "sleep 1000").await;
    runtime.remove_sandbox("pod").await.unwrap();
    assert!(matches!(runtime.wait(&id).await, Err(RuntimeError::NotFound(_))));
    assert!(runtime.recover().await.unwrap().is_empty());
    assert_eq!(running(dir), 0);
}

#[tokio::test]
async fn loopback_behaves_as_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Loopback::new(dir.path().join("pods"), shim(), Arc::new(NoNetwork)).unwrap();
    behaves(&open(), &open(), dir.path()).await;
}

#[tokio::test]
async fn native_behaves_as_a_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let (Some(runtime), Some(again)) = (native(dir.path()).await, native(dir.path()).await) else { return };
    behaves(&runtime, &again, dir.path()).await;
}

#[tokio::test]
async fn a_loopback_pod_is_told_to_listen_at_its_own_address() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Loopback::new(dir.path().join("pods"), shim(), Arc::new(NoNetwork)).unwrap();
    let pod = Pod::new(&runtime, dir.path()).await;
    let id = pod.start("c", "echo listen at $HOST").await;
    runtime.wait(&id).await.unwrap();
    assert!(pod.log("c").contains("listen at 127.0.0.1\n"));
    runtime.remove_sandbox("pod").await.unwrap();
}
