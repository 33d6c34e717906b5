//! No chance but that of the seed. The standard library asks the operating system for the keys of its hash maps, and so do the
//! libraries below the controller; in this test binary they all get the same answer. Together with a thread for each
//! seed, which begins its keys anew, the same seed plays the same story, request by request.

/// Stands in the place of the C library's function of this name, for this test binary only.
///
/// SAFETY: it keeps the contract of getrandom(2): whoever calls it passes a buffer of `length` bytes that may be written, and
/// all of them are. No secret is ever made of them here: TLS is not part of the simulation.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: see above.
    unsafe { buffer.write_bytes(0x42, length) };
    isize::try_from(length).unwrap_or(isize::MAX)
}
