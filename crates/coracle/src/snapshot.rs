//! `coracle snapshot`: every object in one file, and a data directory made of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use apiserver::store::{
    self, Store,
    saved::{self, Everything, Status},
};
use futures::{AsyncReadExt, io::AsyncRead};
use http::Request;
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    cli::{Output, SnapshotAction, Up},
    config::{Config, Machine},
    data_dir::DataDir,
};

/// Where the API server gives snapshots.
const PATH: &str = "/coracle/snapshot";

/// Does what was asked.
///
/// # Errors
/// What failed, on which file, and what to do.
pub fn run(action: &SnapshotAction) -> anyhow::Result<()> {
    match action {
        SnapshotAction::Save { file, kubeconfig, data_dir, output } => {
            let status = save(file, kubeconfig.as_deref(), data_dir.as_deref())?;
            print(&status, file, *output)
        }
        SnapshotAction::Status { file, output } => print(&read(file)?.0, file, *output),
        SnapshotAction::Restore { file, data_dir, force } => restore(file, &directory(data_dir.as_deref())?, *force),
    }
}

fn directory(data_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    let settings = Up { data_dir: data_dir.map(Path::to_owned), ..Up::default() };
    Ok(Config::load(&settings, &Machine::current())?.data_dir)
}

fn print(status: &Status, file: &Path, output: Output) -> anyhow::Result<()> {
    let Status { revision, objects, time, sha256 } = status;
    let bytes = fs::metadata(file).with_context(|| format!("look at {}", file.display()))?.len();
    match output {
        Output::Json => {
            let value = serde_json::json!({"file": file.display().to_string(), "revision": revision, "objects": objects,
                "time": time, "sha256": sha256, "bytes": bytes});
            println!("{value}");
        }
        Output::Text => println!(
            "{}: {objects} objects at revision {revision}, made {time}, {bytes} bytes, SHA-256 {sha256}",
            file.display()
        ),
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<(Status, Everything)> {
    let what = || format!("snapshot {}", file.display());
    saved::read(BufReader::new(File::open(file).with_context(what)?)).with_context(what)
}

/// Saves the state of a running Coracle, or of a data directory that none runs in. The file is whole, or not there.
fn save(file: &Path, kubeconfig: Option<&Path>, data_dir: Option<&Path>) -> anyhow::Result<Status> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let what = || format!("write {}", draft.display());
    // Secrets are in it. A draft left by a crash may have been made with other permissions.
    let _ = fs::remove_file(&draft);
    let mut to = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft).with_context(what)?;
    let saved = fill(&mut to, kubeconfig, data_dir).and_then(|()| {
        to.sync_all().with_context(what)?;
        // Read again as a whole: what cannot be restored is no snapshot.
        let status = read(&draft)?.0;
        fs::rename(&draft, file).with_context(|| format!("rename {} to {}", draft.display(), file.display()))?;
        Ok(status)
    });
    if saved.is_err() {
        let _ = fs::remove_file(&draft);
    }
    saved
}

fn fill(to: &mut File, kubeconfig: Option<&Path>, data_dir: Option<&Path>) -> anyhow::Result<()> {
    if let Some(kubeconfig) = kubeconfig {
        return ask(to, kubeconfig);
    }
    let path = directory(data_dir)?;
    let state = path.join(store::FILE);
    if !state.exists() {
        bail!("there is no Coracle's state in {}: name its directory with --data-dir", path.display());
    }
    match DataDir::open(&path) {
        Ok(_held) => {
            let everything = Store::open(&state)?.everything();
            saved::write(everything.pieces(jiff::Timestamp::now()), to).context("write the snapshot")
        }
        // A Coracle runs: it is asked.
        Err(_) => ask(to, &path.join("kubeconfig")),
    }
}

fn ask(to: &mut File, kubeconfig: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let asked = runtime.block_on(async {
        let config = Kubeconfig::read_from(kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        let answer = Client::try_from(config)?.request_stream(Request::get(PATH).body(Vec::new())?).await?;
        copy(std::pin::pin!(answer), to).await
    });
    asked.with_context(|| format!("ask the API of {} for a snapshot", kubeconfig.display()))
}

async fn copy(mut from: std::pin::Pin<&mut impl AsyncRead>, to: &mut File) -> anyhow::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        match buffer.get(..read) {
            None | Some([]) => return Ok(()),
            Some(bytes) => to.write_all(bytes)?,
        }
    }
}

/// Makes the state of a data directory from a snapshot, which is read whole and checked before anything is written.
fn restore(file: &Path, path: &Path, force: bool) -> anyhow::Result<()> {
    let (status, everything) = read(file)?;
    let _held = DataDir::open(path)?;
    let state = path.join(store::FILE);
    if state.exists() {
        if !force {
            bail!(
                "{} has a state already: name another directory with --data-dir, or replace it with --force, which keeps it beside \
                 the new one",
                path.display()
            );
        }
        let aside = path.join(format!("{}.before-{}", store::FILE, jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
        // A second name for it: the state has one at every moment.
        fs::hard_link(&state, &aside).with_context(|| format!("keep {} as {}", state.display(), aside.display()))?;
        println!("the state that was there is kept as {}", aside.display());
    }
    saved::restore(&everything, &state).with_context(|| format!("make {}", state.display()))?;
    println!("restored {} objects of {} into {}", status.objects, status.time, path.display());
    Ok(())
}
