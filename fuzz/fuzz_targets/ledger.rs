//! `make fuzz TARGET=ledger`; the rules stand beside the corpus.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    pleo_operator_fuzz::targets::ledger::run(data);
});
