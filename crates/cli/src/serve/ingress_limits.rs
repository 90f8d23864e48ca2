//! How much and how long, at the ingress: what the operator says of it.

use std::time::Duration;

use proxy::ingress::limits::Limits;
use serde::{Deserialize, Serialize};

use super::settings::Settings;

/// The least room for a head, in bytes: what is read at once.
const HEAD_BYTES_LEAST: usize = 8 * 1024;

/// Bounds of the ingress that can be set, each decided; [`Limits`] says what they mean.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IngressLimits {
    connections_max: u32,
    address_connections_max: u32,
    sandbox_requests_max: u32,
    key_requests_max: u32,
    headers_max: u32,
    head_bytes_max: u32,
    head_wait_seconds: u32,
    body_idle_seconds: u32,
    body_bytes_per_second_min: u32,
    body_bytes_max: u64,
    answer_wait_seconds: u32,
}

impl IngressLimits {
    /// What these settings say.
    pub fn resolve(settings: &Settings) -> Self {
        Self {
            connections_max: settings.ingress_connections_max.unwrap_or(4096),
            address_connections_max: settings.ingress_address_connections_max.unwrap_or(1024),
            sandbox_requests_max: settings.ingress_sandbox_requests_max.unwrap_or(512),
            key_requests_max: settings.ingress_key_requests_max.unwrap_or(2048),
            headers_max: settings.ingress_headers_max.unwrap_or(100),
            head_bytes_max: settings.ingress_head_bytes_max.unwrap_or(64 * 1024),
            head_wait_seconds: settings.ingress_head_wait_seconds.unwrap_or(30),
            body_idle_seconds: settings.ingress_body_idle_seconds.unwrap_or(60),
            body_bytes_per_second_min: settings.ingress_body_bytes_per_second_min.unwrap_or(100),
            body_bytes_max: settings.ingress_body_bytes_max.unwrap_or(0),
            answer_wait_seconds: settings.ingress_answer_wait_seconds.unwrap_or(30 * 60),
        }
    }

    /// As the ingress takes them.
    pub fn limits(&self) -> Limits {
        let seconds = |count: u32| Duration::from_secs(count.into());
        Limits {
            connections_max: self.connections_max as usize,
            address_connections_max: self.address_connections_max as usize,
            sandbox_requests_max: self.sandbox_requests_max as usize,
            key_requests_max: self.key_requests_max as usize,
            headers_max: self.headers_max as usize,
            head_bytes_max: HEAD_BYTES_LEAST.max(self.head_bytes_max as usize),
            head_wait: seconds(self.head_wait_seconds),
            body_idle: seconds(self.body_idle_seconds),
            body_bytes_per_second_min: self.body_bytes_per_second_min.into(),
            body_bytes_max: (self.body_bytes_max > 0).then_some(self.body_bytes_max),
            answer_wait: seconds(self.answer_wait_seconds),
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_as_the_ingress_has_it() {
        let ours = IngressLimits::resolve(&Settings::default()).limits();
        assert_eq!(format!("{ours:?}"), format!("{:?}", Limits::default()));
    }
}
