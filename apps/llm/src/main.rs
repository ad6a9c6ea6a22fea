//! The `llm` service as a program of its own.

fn main() -> std::io::Result<()> {
    llm::run()
}
