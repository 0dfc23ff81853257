//! Seeds that nobody has given.

/// A seed for whoever has given none. Every JSON library keeps numbers below 2^53 as they are.
pub fn any_seed() -> u64 {
    let mut bytes = [0; 8];
    // Without the host's randomness it is some number all the same: it need not be a secret.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes) >> 11
}
