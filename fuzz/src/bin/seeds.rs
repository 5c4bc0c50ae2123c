//! Writes what to begin with into a folder: `cargo run --bin seeds corpus/bodies`.

#![expect(clippy::expect_used, reason = "a tool that runs before the fuzzer")]

fn main() {
    let folder = std::env::args().nth(1).expect("a folder to write into");
    std::fs::create_dir_all(&folder).expect("a folder that can be written into");
    for (number, seed) in batchwright_fuzz::seeds().iter().enumerate() {
        let file = format!("{folder}/seed-{number}");
        std::fs::write(file, seed).expect("a file that can be written");
    }
}
