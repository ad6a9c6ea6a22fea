//! The `sample` service as a program of its own.

fn main() -> std::io::Result<()> {
    sample::run()
}
