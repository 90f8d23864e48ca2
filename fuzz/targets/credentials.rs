//! What are credentials are never shown, and are the same when they are kept and read again.

#![no_main]

use wire::image::RegistryCredentials;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(credentials) = serde_json::from_slice::<RegistryCredentials>(bytes) {
        let is_same = |kept: &Vec<u8>| {
            serde_json::from_slice::<RegistryCredentials>(kept).is_ok_and(|again| again == credentials)
        };
        assert!(serde_json::to_vec(&credentials).as_ref().is_ok_and(is_same));
        assert_eq!(format!("{credentials:?}"), format!("RegistryCredentials({}, …)", credentials.kind()));
    }
});
