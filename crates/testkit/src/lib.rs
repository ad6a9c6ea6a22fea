//! Starts a whole Coracle for a test, as its own process with free ports and a temporary data directory, and finds the real
//! programs (kubectl, nginx, wrk …) that tests drive it with.

mod apart;
mod coracle;
mod crowd;
pub mod databases;
mod flows;
mod http;
mod load;
pub mod processes;
mod programs;
pub mod systems;

pub use apart::apart;
pub use coracle::{Coracle, Settings};
pub use crowd::Crowd;
pub use flows::{ALL_KUBECTL_VERSIONS, KUBECTL_VERSIONS, with_each_kubectl, with_every_kubectl};
pub use http::get;
pub use load::Load;
pub use programs::{Kubectl, find};
