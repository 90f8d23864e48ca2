//! Presigned URLs: made, listed, taken back.
//!
//! A URL's token is shown once; what is kept is a hash of it, as of keys. It opens one port of one sandbox, also of one
//! that is paused, until it expires, is taken back, or the sandbox goes.

use wire::guest::AGENT_TCP_PORT;
use wire::id::{PresignedUrlId, SandboxId, TeamId};
use wire::public::presigned::{CreatedPresignedUrl, PresignedUrl, PresignedUrlList};
use wire::token::Token;

use crate::entropy;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::record::Desired;
use crate::sandboxes::{ended, owned};
use crate::store::PresignedRecord;
use crate::times::rfc3339;

/// A URL somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The port it opens.
    pub port: u16,
    /// Its life.
    pub expires_in_seconds: u32,
}

/// Makes a URL, which is in the answer and nowhere else. Its sandbox stays as it is, paused or not.
pub async fn create(
    fleet: &Fleet,
    team: &TeamId,
    id: &SandboxId,
    order: Order,
) -> Result<CreatedPresignedUrl> {
    let sandbox = owned(fleet, team, id).await?;
    if sandbox.desired == Desired::Deleted {
        return Err(ended(&sandbox));
    }
    if order.port == AGENT_TCP_PORT {
        return Err(Error::field("port", format!("{AGENT_TCP_PORT} is not for users")));
    }
    let (token, now_ms) = (Token::from_entropy(entropy::bytes()?), fleet.now_ms());
    let record = PresignedRecord {
        id: PresignedUrlId::from_entropy(entropy::bytes()?),
        sandbox: id.clone(),
        port: order.port,
        created_at_ms: now_ms,
        expires_at_ms: now_ms + i64::from(order.expires_in_seconds) * 1000,
    };
    fleet.store.add_presigned_url(&record, &fleet.pepper.hash(token.as_str())).await?;
    tracing::info!(made = %record.id, sandbox = %id, port = record.port, "a presigned URL was made");
    let url = format!("https://{}.{}", token.as_str(), fleet.ingress_authority);
    Ok(CreatedPresignedUrl { token: token.into(), url, shown: present(record) })
}

/// Those of a sandbox that open something.
pub async fn list(fleet: &Fleet, team: &TeamId, id: &SandboxId) -> Result<PresignedUrlList> {
    owned(fleet, team, id).await?;
    let records = fleet.store.presigned_urls(id, fleet.now_ms()).await?;
    let items: Vec<PresignedUrl> = records.into_iter().map(present).collect();
    Ok(PresignedUrlList { total_items: items.len() as u64, items })
}

/// Makes a URL open nothing any more, from the next request on.
pub async fn revoke(fleet: &Fleet, team: &TeamId, id: &SandboxId, url: &str) -> Result<()> {
    owned(fleet, team, id).await?;
    let unknown = || Error::not_found("presigned URL", url);
    let url = url.parse().map_err(|_| unknown())?;
    if !fleet.store.remove_presigned_url(id, &url).await? {
        return Err(unknown());
    }
    tracing::info!(revoked = %url, sandbox = %id, "a presigned URL was taken back");
    Ok(())
}

fn present(record: PresignedRecord) -> PresignedUrl {
    PresignedUrl {
        id: record.id,
        sandbox_id: record.sandbox,
        port: record.port,
        expires_at: rfc3339(record.expires_at_ms),
        created_at: rfc3339(record.created_at_ms),
    }
}
