//! Every target is this file under a name of its own; see `heygen_tracker::fuzz`.

#![no_main]

use heygen_tracker::fuzz::TARGETS;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for (_, target) in TARGETS.iter().filter(|(name, _)| *name == env!("CARGO_BIN_NAME")) {
        target(bytes);
    }
});
