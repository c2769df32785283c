//! The program of `make fuzz`: libFuzzer, which brings `main`, over the one target that `FUZZ_TARGET` names.
#![no_main]

use std::sync::OnceLock;

use portwarden_fuzz::Target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        Target::named(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name} is no target"))
    });
    target.run(input);
});
