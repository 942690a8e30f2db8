//! Chance that can be repeated: everything follows from a seed and from what it is about.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// The SHA-256 of a body, in hexadecimal digits.
pub(crate) fn sha256(body: &[u8]) -> String {
    hex::encode(digest(&SHA256, body))
}

/// 32 bytes that follow from the seed and the parts.
pub(crate) fn bytes(seed: u64, parts: &[&str]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&seed.to_be_bytes());
    for part in parts {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// A number of at least 0 and less than 1.
pub(crate) fn fraction(seed: u64, parts: &[&str]) -> f64 {
    let bytes = bytes(seed, parts);
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[..8]);
    // 53 bits are what an f64 holds exactly.
    (u64::from_be_bytes(number) >> 11) as f64 / (1_u64 << 53) as f64
}
