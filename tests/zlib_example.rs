//! The zlib example, as its README runs it, on files of this repository and on the program itself.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

#[path = "static_guests.rs"]
mod static_guests;

use static_guests::{root, static_guest};

#[test]
fn files_are_compressed_to_the_same_bytes_inside_and_outside() {
    let guest = static_guest("cofferdam-example-zlib", "zlib-guest");
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").expect("written");
    let large = folder.path().join("large");
    // Larger than the ring, and hard to compress.
    let bytes: Vec<u8> =
        (0_u64..400_000).flat_map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()).collect();
    std::fs::write(&large, bytes).expect("written");
    let files = [root().join("Cargo.lock"), root().join("README.md"), empty, large];
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_zlib"))
        .arg(guest)
        .args(&files)
        .env_remove("COFFERDAM_LAUNCHER")
        .output()
        .expect("cargo built it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("identical").count(), 3 * files.len(), "{text}");
}
