//! The `infer` service as a program of its own.

fn main() -> std::io::Result<()> {
    infer::run()
}
