//! `make fuzz TARGET=coding`; the rules stand beside the corpus.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    pleo_operator_fuzz::targets::coding::run(data);
});
