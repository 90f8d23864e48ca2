//! What is an image source is the same when it is written out and read again.

#![no_main]

use wire::image::{ImageSource, SOURCE_CHARS_MAX};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let text = text.trim_end();
    if let Ok(source) = text.parse::<ImageSource>() {
        let written = source.to_string();
        // What is left out of one as long as can be makes it longer.
        if written.len() > SOURCE_CHARS_MAX {
            return;
        }
        assert_eq!(written.parse::<ImageSource>().as_ref(), Ok(&source), "{text} is {written}");
    }
});
