//! No chance but that of the seed. The standard library asks the operating system for the keys of its hash maps, and so do the
//! libraries below the controller; in this test binary they all get the same answer. Sixteen bytes, as for the name of a
//! visit, are others each time, and counted by thread. Together with a thread for each seed, which begins its keys anew, the
//! same seed plays the same story, request by request.

use std::cell::Cell;

thread_local! {
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

/// Stands in the place of the C library's function of this name, for this test binary only.
///
/// SAFETY: it keeps the contract of getrandom(2): whoever calls it passes a buffer of `length` bytes that may be written, and
/// all of them are. No secret is ever made of them here: TLS is not part of the simulation.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    let drawn =
        if length == 16 { DRAWN.try_with(|drawn| drawn.replace(drawn.get() + 1)).unwrap_or_default() } else { 0 };
    for place in 0..length {
        let word = mixed(drawn.wrapping_mul(1 << 8).wrapping_add(u64::try_from(place / 8).unwrap_or_default()));
        // SAFETY: see above; `place` is less than `length`.
        unsafe { buffer.add(place).write(word.to_le_bytes()[place % 8]) };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// One step of SplitMix64.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
