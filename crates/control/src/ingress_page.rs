//! What the ingress has counted, as part of `GET /metrics`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wire::ingress::counts::{Counts, NAMES_MAX, WAIT_SECONDS};

/// An ingress that has not told what it counted for so long is not there.
const AWAY: Duration = Duration::from_secs(30);
/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;

/// What was told last, and when.
#[derive(Default)]
pub struct Told(Mutex<Option<(Counts, Instant)>>);

impl Told {
    /// From now on this is what was told last.
    pub fn tell(&self, counts: Counts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((counts, Instant::now()));
    }

    /// The page, which is empty while there is no ingress.
    pub fn page(&self) -> String {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = told.as_ref().filter(|(_, at)| at.elapsed() < AWAY);
        fresh.map(|(counts, _)| page(counts)).unwrap_or_default()
    }
}

fn page(counts: &Counts) -> String {
    let mut page = String::new();
    by_name(&mut page, "requests_total", "outcome", &counts.requests);
    by_name(&mut page, "refusals_total", "code", &counts.refusals);
    by_name(&mut page, "dial_failures_total", "code", &counts.dial_failures);
    one(&mut page, "dials_total", "counter", counts.dials);
    one(&mut page, "cut_total", "counter", counts.cut);
    one(&mut page, "bytes_to_apps_total", "counter", counts.bytes_to_apps);
    one(&mut page, "bytes_from_apps_total", "counter", counts.bytes_from_apps);
    one(&mut page, "connections", "gauge", counts.connections);
    one(&mut page, "upgraded_streams", "gauge", counts.upgraded);
    waits(&mut page, counts);
    page
}

fn one(page: &mut String, name: &str, kind: &str, count: u64) {
    let _ = writeln!(page, "# TYPE atoll_ingress_{name} {kind}\natoll_ingress_{name} {count}\n");
}

fn by_name(page: &mut String, name: &str, label: &str, counts: &BTreeMap<String, u64>) {
    let _ = writeln!(page, "# TYPE atoll_ingress_{name} counter");
    // It parses what strangers send: what it says is written where it can say nothing else.
    for (value, count) in counts.iter().filter(|(value, _)| is_name(value)).take(NAMES_MAX) {
        let _ = writeln!(page, "atoll_ingress_{name}{{{label}=\"{value}\"}} {count}");
    }
    page.push('\n');
}

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !text.is_empty() && text.len() <= NAME_CHARS_MAX && text.bytes().all(is_plain)
}

fn waits(page: &mut String, counts: &Counts) {
    let name = "atoll_ingress_wait_seconds";
    let _ = writeln!(page, "# TYPE {name} histogram");
    let mut sum = 0_u64;
    let bounds = WAIT_SECONDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(counts.waits) {
        sum = sum.saturating_add(count);
        let _ = writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {sum}");
    }
    let seconds = Duration::from_micros(counts.waited_us).as_secs_f64();
    let _ = writeln!(page, "{name}_sum {seconds}\n{name}_count {sum}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_was_counted_and_nothing_that_was_smuggled_in() {
        let names = [("2xx", 7), ("x\"} 1\natoll_leaks 0", 8), ("", 9)];
        let counts = Counts {
            requests: names.map(|(name, count)| (name.to_owned(), count)).into(),
            connections: 3,
            waits: [4, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            waited_us: 300_000,
            ..Counts::default()
        };
        let page = page(&counts);
        let lines: Vec<&str> = page.lines().collect();
        for line in [
            "atoll_ingress_requests_total{outcome=\"2xx\"} 7",
            "atoll_ingress_connections 3",
            "atoll_ingress_wait_seconds_bucket{le=\"0.001\"} 4",
            "atoll_ingress_wait_seconds_bucket{le=\"0.5\"} 5",
            "atoll_ingress_wait_seconds_bucket{le=\"+Inf\"} 5",
            "atoll_ingress_wait_seconds_sum 0.3",
        ] {
            assert!(lines.contains(&line), "{line}: {page}");
        }
        assert!(!page.contains("leaks"), "{page}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ingress_that_is_away_says_nothing() {
        let told = Told::default();
        assert_eq!(told.page(), "");
        told.tell(Counts::default());
        assert!(told.page().contains("atoll_ingress_dials_total 0"));
        tokio::time::advance(AWAY).await;
        assert_eq!(told.page(), "");
    }
}
