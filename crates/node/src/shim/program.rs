//! The program that an image of the machine is a name for. A volume over its directory, or a directory that is closed to the
//! container's user, would keep it from being executed by its path: it is opened before the container's root is made, and executed by
//! its descriptor where the path does not lead to it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ffi::CString,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, FcntlArg, FdFlag, fcntl},
    mount::{MsFlags, mount},
    unistd::{AccessFlags, access, execveat},
};

use super::{Failure, failure::Step, rootfs};
use crate::runtime::{ContainerSpec, RootFs};

/// Where the program is mounted for a moment, in the run's directory.
const PLACE: &str = "program";

/// Whether `argv` of this container begins with the program that its image is a name for.
pub(super) fn is_meant(spec: &ContainerSpec, argv: &[String]) -> bool {
    spec.image_program && spec.rootfs == RootFs::Host && argv.first() == spec.argv.first()
}

/// A descriptor of the image's program, through a mount of its own that is read-only: whatever runs in the container can open its own
/// file again, and must not be able to write to the machine's. The caller must be in a mount namespace of its own. `None` if it is not
/// there.
pub(super) fn open(spec: &ContainerSpec, dir: &Path) -> Result<Option<File>, Failure> {
    let Some(path) = spec.argv.first().map(Path::new).filter(|path| path.is_file()) else { return Ok(None) };
    let place = dir.join(PLACE);
    rootfs::touch(&place).step(|| format!("make {}", place.display()))?;
    mount(Some(path), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .step(|| format!("mount {}", path.display()))?;
    rootfs::restrict(&place, MsFlags::MS_RDONLY | MsFlags::MS_NODEV)?;
    let file = File::options().read(true).custom_flags(libc::O_PATH).open(&place);
    file.map(Some).step(|| format!("open {}", path.display()))
}

/// A program with all that it is executed with.
pub(super) struct Program {
    file: File,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// # Errors
    /// When an argument or a variable has a zero byte in it.
    pub fn new(file: File, argv: &[String], environment: &BTreeMap<&str, &str>) -> io::Result<Self> {
        let argv = argv.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?;
        let env = environment.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        Ok(Self { file, argv, env: env.collect::<Result<_, _>>()? })
    }

    /// Becomes the program, unless this process finds one at its path: then the caller goes on to execute that, so that its name is
    /// right wherever processes are listed (kernels before 6.14 name a process after its descriptor's number).
    pub fn execute(&self) -> io::Result<()> {
        let path = self.argv.first().map(CString::as_c_str).unwrap_or_default();
        let is_file = |path: &str| fs::metadata(path).is_ok_and(|what| what.is_file());
        if path.to_str().is_ok_and(is_file) && access(path, AccessFlags::X_OK).is_ok() {
            return Ok(());
        }
        let Err(error) = self.become_it();
        // A script's interpreter opens it again by its descriptor, and must inherit that.
        if error != Errno::ENOENT {
            return Err(error.into());
        }
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        let Err(error) = self.become_it();
        Err(error.into())
    }

    fn become_it(&self) -> nix::Result<Infallible> {
        execveat(&self.file, c"", &self.argv, &self.env, AtFlags::AT_EMPTY_PATH)
    }
}
