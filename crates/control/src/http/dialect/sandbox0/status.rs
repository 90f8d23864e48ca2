//! How a template is doing. Pure.
//!
//! No sandboxes are kept ready yet, so the ready ones are none, and a template that asks for some is not `Ready`; what
//! is claimed is made on the spot.

use serde_json::{Value, json};
use wire::public::template::TemplateState;

use super::builtin;
use crate::templates::record::TemplateRecord;
use crate::times::rfc3339;

/// Why a condition is as it is, and in words.
type Because = (&'static str, String);

/// The status of a template, of which the caller's team has so many sandboxes.
pub fn of(record: &TemplateRecord, active: u64) -> Value {
    let changed_at = rfc3339(record.updated_at_ms);
    let condition = |kind: &str, is_so: bool, (reason, message): Because| {
        json!({
            "type": kind,
            "status": if is_so { "True" } else { "False" },
            "lastTransitionTime": changed_at,
            "reason": reason,
            "message": message,
        })
    };
    let trouble = image_trouble(record).or_else(|| pool_trouble(record));
    let is_ready = trouble.is_none();
    let ready = trouble.unwrap_or_else(|| ("Ready", "sandboxes can be made".into()));
    let healthy = ("WithinLimits", "no more sandboxes are kept ready than are wanted".into());
    json!({
        "idleCount": 0,
        "activeCount": active,
        "conditions": [condition("Ready", is_ready, ready), condition("PoolHealthy", true, healthy)],
        "lastUpdateTime": changed_at,
    })
}

fn image_trouble(record: &TemplateRecord) -> Option<Because> {
    match (record.state, &record.failure) {
        (TemplateState::Failed, failure) => {
            let why = failure.as_ref().map_or("for a reason that is not known", |it| it.message.as_str());
            let meanwhile =
                if record.serving.is_some() { "; sandboxes are made from the one before" } else { "" };
            Some(("ImagePullFailed", format!("the image cannot be had: {why}{meanwhile}")))
        }
        (TemplateState::Pulling, _) => Some(("ImagePulling", "the image is on its way".into())),
        (TemplateState::Resolved | TemplateState::Ready, _) => None,
    }
}

fn pool_trouble(record: &TemplateRecord) -> Option<Because> {
    let of_team = record.spec.known.pool.map_or(0, |pool| pool.min_idle);
    let wanted = if record.is_system() { builtin::POOL.0 } else { of_team };
    let message = format!(
        "{wanted} sandboxes are to be kept ready, which is not done yet: each is made when it is asked for"
    );
    (wanted > 0).then_some(("InsufficientIdlePods", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::example::{digest, fresh};
    use wire::node::{PullFailure, PullFailureCode};
    use wire::public::template::Pool;

    fn check(record: &TemplateRecord, status: &str, reason: &str) -> String {
        let ready = of(record, 3)["conditions"][0].clone();
        assert_eq!((&ready["status"], &ready["reason"]), (&json!(status), &json!(reason)));
        ready["message"].as_str().unwrap().to_owned()
    }

    #[test]
    fn ready_says_what_becomes_of_the_image() {
        let mut record = fresh();
        check(&record, "False", "ImagePulling");
        record.pulled(1, Ok(digest(7)));
        check(&record, "True", "Ready");
        record.state = TemplateState::Failed;
        record.failure =
            Some(PullFailure { code: PullFailureCode::InvalidImage, message: "it is torn".into() });
        assert!(check(&record, "False", "ImagePullFailed").contains("it is torn"));
    }

    #[test]
    fn a_pool_that_is_not_kept_is_told() {
        let mut record = fresh();
        record.pulled(1, Ok(digest(7)));
        record.spec.known.pool = Some(Pool { min_idle: 2, max_idle: 3 });
        check(&record, "False", "InsufficientIdlePods");
        let status = of(&record, 3);
        assert_eq!((&status["idleCount"], &status["activeCount"]), (&json!(0), &json!(3)));
        assert_eq!(status["lastUpdateTime"], json!("1970-01-01T00:00:01Z"));
        assert!(status.get("creation").is_none());
    }
}
