//! What the native runtime promises beyond the suite of every runtime: isolation, limits, users and privileges.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod support;

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use node::runtime::{ContainerSpec, Exit, Mount, RootFs, Runtime, RuntimeError, loopback::Loopback, native::Native};
use support::{NoNetwork, Pod, native, running, shim, until};
use tempfile::TempDir;

/// A runtime in a directory of its own, whose pod is taken away at the end.
struct Machine {
    dir: TempDir,
    runtime: Native,
}

impl Machine {
    async fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let runtime = native(dir.path()).await?;
        Some(Self { dir, runtime })
    }

    /// Runs a script to its end, in a container that `change` is made to; gives what it printed, without times, and its end.
    async fn run(&self, script: &str, change: impl FnOnce(&mut ContainerSpec)) -> (String, Exit) {
        let pod = Pod::new(&self.runtime, self.dir.path()).await;
        // One stream, so that lines stay in order.
        let mut spec = pod.spec("c", &["/bin/sh", "-c", &format!("exec 2>&1; {script}")]);
        change(&mut spec);
        let status = self.runtime.start(&spec).await.unwrap();
        let exit = self.runtime.wait(&status.id).await.unwrap();
        let log = pod.log("c");
        self.runtime.remove_sandbox("pod").await.unwrap();
        fs::remove_file(&spec.log_path).unwrap();
        let text = |line: &str| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned();
        (log.lines().map(text).collect::<Vec<_>>().join("\n"), exit)
    }

    async fn says(&self, script: &str) -> String {
        self.run(script, |_| {}).await.0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A failed test leaves its pod: at least the directory can be removed.
        for name in ["ipc", "net", "uts", "shm"] {
            let kept = self.dir.path().join("pods/pod").join(name);
            let _ = nix::mount::umount2(&kept, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

#[tokio::test]
async fn a_container_has_a_host_name_processes_and_network_of_its_own() {
    let Some(machine) = Machine::new().await else { return };
    assert_eq!(machine.says("cat /proc/sys/kernel/hostname /etc/hostname").await, "pod\npod");
    assert_eq!(machine.says("echo $$; ls -d /proc/[0-9]* | wc -l").await.lines().next(), Some("2"));
    let links = machine.says("cat /proc/net/dev").await;
    assert_eq!(links.lines().filter(|line| line.contains(':')).count(), 1, "only the loopback link: {links}");
    assert!(machine.says("cat /etc/hosts").await.contains("127.0.0.1\tpod"));
}

#[tokio::test]
async fn what_a_container_writes_ends_with_it_and_the_machine_keeps_its_files() {
    let Some(machine) = Machine::new().await else { return };
    let (name, dir) = (format!("/etc/written-{}", std::process::id()), machine.dir.path().display());
    let wrote = machine.says(&format!("echo text > {name} && cat {name} && rm /etc/passwd && ls /etc/passwd")).await;
    assert!(wrote.starts_with("text\n") && wrote.contains("No such file"), "{wrote}");
    assert!(!Path::new(&name).exists() && Path::new("/etc/passwd").exists());
    assert_eq!(machine.says(&format!("ls {name} || echo gone")).await.lines().last(), Some("gone"));
    assert_eq!(machine.says(&format!("ls -A /tmp /run; ls {dir} || echo hidden")).await.lines().last(), Some("hidden"));
}

#[tokio::test]
async fn a_directory_can_be_the_root() {
    let Some(machine) = Machine::new().await else { return };
    let image = machine.dir.path().join("image");
    for dir in ["usr", "bin", "lib", "lib64"] {
        fs::create_dir_all(image.join(dir)).unwrap();
    }
    fs::write(image.join("file"), "of the image").unwrap();
    let mount = |path: &str| Mount { source: path.into(), target: path.into(), read_only: true };
    let programs = ["/usr", "/bin", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).is_dir());
    let (said, _) = machine
        .run("cat /file; echo; rm /file; ls /; exit 0", |spec| {
            spec.rootfs = RootFs::Directory(image.clone());
            spec.mounts = programs.map(mount).collect();
        })
        .await;
    assert!(said.starts_with("of the image\n") && !said.contains("home"), "{said}");
    assert!(image.join("file").exists());
}

/// A program of the machine in a directory that is closed to others, as a shell or a script.
fn program_of(machine: &Machine, name: &str) -> PathBuf {
    let dir = machine.dir.path().join("programs");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    match name {
        "shell" => drop(fs::copy("/bin/sh", &path).unwrap()),
        _ => fs::write(&path, "#!/bin/sh\neval \"$2\"\n").unwrap(),
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Puts a volume over every place in which the machine's program could be, and says that the image is that program.
fn cover(spec: &mut ContainerSpec, machine: &Machine, program: &Path) {
    let volume = machine.dir.path().join("volume");
    fs::create_dir_all(&volume).unwrap();
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    spec.mounts = vec![Mount { source: volume, target: "/tmp".into(), read_only: false }];
    spec.argv[0] = program.to_str().unwrap().to_owned();
    spec.image_program = true;
    spec.security.read_only_root = true;
}

#[tokio::test]
async fn an_images_program_starts_though_a_volume_or_its_directorys_owner_hides_it() {
    let Some(machine) = Machine::new().await else { return };
    for name in ["shell", "script"] {
        let program = program_of(&machine, name);
        let script = format!("id -u; ls {} || echo hidden; echo text > /tmp/{name}", program.display());
        let (said, exit) = machine
            .run(&script, |spec| {
                cover(spec, &machine, &program);
                spec.security.uid = Some(12345);
            })
            .await;
        assert!(exit.code == 0 && said.starts_with("12345\n") && said.ends_with("\nhidden"), "{said}");
        assert!(machine.dir.path().join("volume").join(name).exists(), "{said}");
    }
}

#[tokio::test]
async fn nobody_in_a_container_can_write_to_the_program_that_its_image_is() {
    let Some(machine) = Machine::new().await else { return };
    let program = program_of(&machine, "script");
    // A shell's own file is busy; a script's is not.
    let (said, _) = machine.run("echo more >> $0", |spec| cover(spec, &machine, &program)).await;
    assert!(said.contains("Read-only file system"), "{said}");
}

#[tokio::test]
async fn an_images_program_can_be_run_again_in_its_container_and_after_it_was_replaced() {
    let Some(machine) = Machine::new().await else { return };
    let (runtime, program) = (&machine.runtime, program_of(&machine, "shell"));
    let pod = Pod::new(runtime, machine.dir.path()).await;
    let mut spec = pod.spec("c", &["", "-c", "sleep 1000"]);
    cover(&mut spec, &machine, &program);
    let id = runtime.start(&spec).await.unwrap().id;
    let argv = |text: &str| vec![spec.argv[0].clone(), "-c".to_owned(), text.to_owned()];
    let asked =
        runtime.exec(&id, &argv("echo $0; readlink /proc/$$/exe"), Duration::from_secs(60), 1000).await.unwrap();
    let said = String::from_utf8_lossy(&asked.output).into_owned();
    assert_eq!((asked.code, said.lines().next()), (0, program.to_str()), "{said}");

    let next = program.with_extension("new");
    fs::copy("/bin/echo", &next).unwrap();
    fs::rename(&next, &program).unwrap();
    assert_eq!(runtime.exec(&id, &argv("x"), Duration::from_secs(60), 1000).await.unwrap().output, b"-c x\n");
    runtime.kill(&id).await.unwrap();
    runtime.wait(&id).await.unwrap();
    spec.id.attempt = 1;
    let id = runtime.start(&spec).await.unwrap().id;
    assert_eq!(runtime.wait(&id).await.unwrap().code, 0);
    assert!(pod.log("c").ends_with(" stdout F -c sleep 1000\n"), "{}", pod.log("c"));

    // What a pod names itself is looked for among its own files.
    spec.id.attempt = 2;
    spec.image_program = false;
    let refused = runtime.start(&spec).await.unwrap_err();
    assert!(
        matches!(&refused, RuntimeError::Start { source, .. } if source.kind() == ErrorKind::NotFound),
        "{refused}"
    );
    runtime.remove_sandbox("pod").await.unwrap();
}

#[tokio::test]
async fn volumes_are_writable_unless_they_say_otherwise_even_on_a_read_only_root() {
    let Some(machine) = Machine::new().await else { return };
    let volume = |name: &str| -> PathBuf {
        let path = machine.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let (open, closed) = (volume("open"), volume("closed"));
    let script = "echo a > /data/file; echo b > /mnt/closed/file; echo c > /etc/file; echo d > /tmp/file; echo e > /dev/shm/file; ls /dev/shm";
    let (said, _) = machine
        .run(script, |spec| {
            spec.security.read_only_root = true;
            spec.mounts = vec![
                Mount { source: open.clone(), target: "/data".into(), read_only: false },
                Mount { source: closed.clone(), target: "/mnt/closed".into(), read_only: true },
            ];
        })
        .await;
    let refused: Vec<_> = said.lines().filter(|line| line.contains("Read-only file system")).collect();
    assert_eq!(refused.len(), 3, "{said}");
    assert_eq!(said.lines().last(), Some("file"), "{said}");
    assert!(open.join("file").exists() && !closed.join("file").exists());
}

#[tokio::test]
async fn a_directory_of_the_machine_that_is_not_there_is_made() {
    let Some(machine) = Machine::new().await else { return };
    let made = machine.dir.path().join("made/here");
    let mount = Mount { source: made.clone(), target: "/data".into(), read_only: false };
    let (_, exit) = machine.run("echo text > /data/file", |spec| spec.mounts = vec![mount]).await;
    assert_eq!((exit.code, fs::read_to_string(made.join("file")).unwrap().as_str()), (0, "text\n"));
}

#[tokio::test]
async fn a_container_beyond_its_memory_is_killed_and_says_so() {
    let Some(machine) = Machine::new().await else { return };
    let (_, exit) = machine.run("exec tail /dev/zero", |spec| spec.limits.memory_bytes = Some(32 << 20)).await;
    assert_eq!((exit.code, exit.oom_killed), (137, true));
    let (_, exit) = machine.run("exit 1", |spec| spec.limits.memory_bytes = Some(32 << 20)).await;
    assert_eq!((exit.code, exit.oom_killed), (1, false));
}

#[tokio::test]
async fn a_container_sees_its_cpu_limit_and_cannot_have_more_processes_than_allowed() {
    let Some(machine) = Machine::new().await else { return };
    let read = "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu*/cpu.cfs_quota_us 2>&-";
    let (said, _) = machine.run(read, |spec| spec.limits.cpu_millis = Some(250)).await;
    assert!(said.starts_with("25000"), "{said}");
    let many = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all";
    let (said, _) = machine.run(many, |spec| spec.limits.pids = Some(4)).await;
    assert!(!said.contains("all"), "{said}");
}

#[tokio::test]
async fn a_container_is_who_its_security_context_says() {
    let Some(machine) = Machine::new().await else { return };
    let script = "echo $(id -u) $(id -g) $(id -G); grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status";
    let (said, _) = machine
        .run(script, |spec| {
            spec.security.uid = Some(12345);
            spec.security.gid = Some(54321);
            spec.security.groups = vec![2000];
            spec.security.no_new_privileges = true;
            spec.security.drop_capabilities = vec!["ALL".into()];
        })
        .await;
    let fields: Vec<_> = said.split_whitespace().collect();
    assert_eq!(fields[..4], ["12345", "54321", "54321", "2000"], "{said}");
    assert!(said.contains("CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1"), "{said}");

    let (said, _) = machine.run(script, |spec| spec.security.add_capabilities = vec!["SYS_TIME".into()]).await;
    // The default set of container runtimes, and SYS_TIME.
    assert!(said.starts_with("0 0 0\n") && said.contains("CapEff:\t00000000aa0425fb"), "{said}");
    let denied = machine.says("mount -t tmpfs none /mnt || echo refused").await;
    assert_eq!(denied.lines().last(), Some("refused"));
}

#[tokio::test]
async fn a_privileged_container_may_do_what_the_machines_root_may() {
    let Some(machine) = Machine::new().await else { return };
    let script = "mount -t tmpfs none /mnt && stat -f -c %T /mnt; grep CapEff /proc/self/status; ls /dev | wc -l";
    let (said, _) = machine.run(script, |spec| spec.security.privileged = true).await;
    let lines: Vec<_> = said.lines().collect();
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours.lines().find(|line| line.starts_with("CapEff")).unwrap();
    assert_eq!(lines[..2], ["tmpfs", ours], "{said}");
    let devices = fs::read_dir("/dev").unwrap().count();
    assert_eq!(lines[2].parse::<usize>().unwrap(), devices, "{said}");
}

#[tokio::test]
async fn the_default_seccomp_profile_refuses_what_ordinary_programs_do_not_do() {
    let Some(machine) = Machine::new().await else { return };
    let script = "grep Seccomp: /proc/self/status; sleep 0 & wait; unshare -U true || echo refused";
    let (said, _) = machine
        .run(script, |spec| {
            spec.security.seccomp = true;
            spec.security.uid = Some(1000);
        })
        .await;
    assert!(said.starts_with("Seccomp:\t2\n") && said.ends_with("refused"), "{said}");
}

#[tokio::test]
async fn a_container_whose_shim_was_killed_is_gone_and_has_ended() {
    let Some(machine) = Machine::new().await else { return };
    let (runtime, dir) = (&machine.runtime, machine.dir.path());
    let pod = Pod::new(runtime, dir).await;
    let id = pod.start("c", "sleep 1000 & exec sleep 1000").await;
    until(|| running(dir) == 2).await;
    let record = fs::read_to_string(dir.join("pods/pod/c.0/started.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let shim = i32::try_from(record["shim"]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(runtime.wait(&id).await.unwrap().code, 255);
    assert_eq!(running(dir), 0, "what it held is free for the next run");
    runtime.remove_sandbox("pod").await.unwrap();
}

#[tokio::test]
async fn nothing_is_left_on_the_machine_and_what_a_restart_of_it_left_is_removed() {
    let Some(machine) = Machine::new().await else { return };
    let dir = machine.dir.path();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = || mounts().lines().filter(|line| line.contains(dir.to_str().unwrap())).count();
    machine.says("true").await;
    assert_eq!((ours(), fs::read_dir(dir.join("pods")).unwrap().count()), (0, 0));

    // After a restart of the machine only files are there.
    Pod::new(&machine.runtime, dir).await;
    assert_ne!(ours(), 0);
    for name in ["ipc", "net", "uts", "shm"] {
        nix::mount::umount(&dir.join("pods/pod").join(name)).unwrap();
    }
    assert!(machine.runtime.recover().await.unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.join("pods")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_pod_on_the_machines_network_shares_its_links_and_name() {
    let Some(machine) = Machine::new().await else { return };
    let (runtime, dir) = (&machine.runtime, machine.dir.path());
    let pod = Pod::with(runtime, dir, |spec| spec.host_network = true).await;
    let id = pod.start("c", "readlink /proc/self/ns/net /proc/self/ns/uts").await;
    assert_eq!(runtime.wait(&id).await.unwrap().code, 0);
    for kind in ["net", "uts"] {
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(pod.log("c").contains(ours.to_str().unwrap()), "{}", pod.log("c"));
    }
    runtime.remove_sandbox("pod").await.unwrap();
}

#[tokio::test]
async fn what_the_other_runtime_left_is_ended_and_removed() {
    let Some(machine) = Machine::new().await else { return };
    let dir = machine.dir.path();
    let loopback = Loopback::new(dir.join("pods"), shim(), Arc::new(NoNetwork)).unwrap();
    let runtimes: [(&dyn Runtime, &dyn Runtime); 2] = [(&machine.runtime, &loopback), (&loopback, &machine.runtime)];
    for (before, after) in runtimes {
        Pod::new(before, dir).await.start("c", "exec sleep 1000").await;
        // Its environment cannot be read while it becomes another program.
        until(|| running(dir) == 1).await;
        assert!(after.recover().await.unwrap().is_empty());
        assert_eq!((running(dir), fs::read_dir(dir.join("pods")).unwrap().count()), (0, 0));
        fs::remove_file(dir.join("c.log")).unwrap();
    }
}
