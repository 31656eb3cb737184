//! Fuzzes the text of a configuration: any text is refused with a short error, or read to values that are written and
//! read again without a change. A validation of what was read must come to an end and never panic.

#![no_main]

use corelane::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| match text.parse::<Config>() {
    Ok(config) => {
        assert_eq!(config.to_string().parse::<Config>().as_ref(), Ok(&config));
        let _fits = config.validate();
    }
    Err(error) => {
        assert!(error.line.is_some_and(|line| line <= text.lines().count()));
        assert!(error.to_string().len() < 1_000);
    }
});
