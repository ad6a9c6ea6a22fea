//! The kubelet's role: pods, runtimes, images, volumes, probes, logs, exec.

pub mod runtime;
