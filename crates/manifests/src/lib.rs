//! YAML in, objects out: files, stdin, kustomize builds. No network.
