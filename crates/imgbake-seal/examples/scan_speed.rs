//! Measures the residue scanner: `cargo run -p imgbake-seal --example scan_speed -- FILE [PATTERNS]`.

use std::time::Instant;

use imgbake_build::Pattern;
use imgbake_seal::ResidueScanner;

#[expect(clippy::print_stdout, reason = "a program that measures prints its figures")]
fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().unwrap_or_else(|| "/dev/zero".to_owned());
    let count: u32 = args.next().and_then(|count| count.parse().ok()).unwrap_or(30);
    let pattern = |n: u32| {
        let bytes = format!(
            "{:032x}",
            u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        );
        Pattern { name: n.to_string(), bytes: bytes.into_bytes(), severe: false }
    };
    let data = std::fs::read(path)?;
    let mut scanner = ResidueScanner::new((0..count).map(pattern).collect());
    let begun = Instant::now();
    for (number, piece) in data.chunks(1 << 20).enumerate() {
        scanner.scan((number as u64) << 20, piece);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let mebibytes = data.len() >> 20;
    println!(
        "{count} patterns, {mebibytes} MiB in {seconds:.3} s, {} hits",
        scanner.finish().len()
    );
    Ok(())
}
