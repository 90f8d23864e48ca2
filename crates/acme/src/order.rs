//! One order: what the authority wants to see is shown to it, and it signs.

use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use jiff::Timestamp;

use crate::account;
use crate::config::Config;
use crate::journal::Journal;
use crate::kept::Kept;
use crate::records::Records;
use crate::trouble::{Trouble, explain};

/// How long the authority may take to look, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));

/// Asks for a certificate. The records that are needed for it stay where they are until somebody removes them, whether it
/// succeeds or not.
pub(crate) async fn obtain(config: &Config, journal: &Journal, records: &Records) -> Result<Kept, Trouble> {
    let mut order = begin(config, journal).await?;
    let values = wanted(&mut order, &config.domain).await?;
    records.present(&values).await?;
    answer(&mut order).await?;
    ready(&mut order, &config.domain).await?;
    let key = order.finalize().await.map_err(Trouble::acme("asking for the signature"))?;
    let chain =
        order.poll_certificate(&PATIENCE).await.map_err(Trouble::acme("waiting for the certificate"))?;
    Kept::parse(&format!("{key}{chain}"))
        .map_err(|why| Trouble::new(format!("reading what {} has signed", config.directory), why))
}

/// A new order, with a new account if the authority has lost the old one.
async fn begin(config: &Config, journal: &Journal) -> Result<Order, Trouble> {
    let names = [Identifier::Dns(config.domain.clone()), Identifier::Dns(format!("*.{}", config.domain))];
    let doing = || format!("ordering a certificate for {} and *.{0}", config.domain);
    let account = account::open(config).await?;
    journal.note(Timestamp::now())?;
    match account.new_order(&NewOrder::new(&names)).await {
        Err(error) if account::forget(&config.dir, &error)? => {
            let account = account::open(config).await?;
            account.new_order(&NewOrder::new(&names)).await.map_err(Trouble::acme(doing()))
        }
        ordered => ordered.map_err(Trouble::acme(doing())),
    }
}

/// What has to stand in the DNS: one value for each of the two names, at the same place. Less if one was proven lately.
async fn wanted(order: &mut Order, domain: &str) -> Result<Vec<String>, Trouble> {
    let doing = || format!("reading what would prove that {domain} is ours");
    let mut values = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(Trouble::acme(doing()))?;
        match authorization.status {
            AuthorizationStatus::Valid => {}
            AuthorizationStatus::Pending => {
                let challenge = authorization.challenge(ChallengeType::Dns01);
                let challenge =
                    challenge.ok_or_else(|| Trouble::new(doing(), "the authority takes no proof by DNS"))?;
                values.push(challenge.key_authorization().dns_value());
            }
            other => return Err(Trouble::new(doing(), format!("the authority gave up: {other:?}"))),
        }
    }
    Ok(values)
}

/// Tells the authority that it may look.
async fn answer(order: &mut Order) -> Result<(), Trouble> {
    let doing = "telling the authority to look";
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(Trouble::acme(doing))?;
        if authorization.status != AuthorizationStatus::Pending {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01) {
            challenge.set_ready().await.map_err(Trouble::acme(doing))?;
        }
    }
    Ok(())
}

async fn ready(order: &mut Order, domain: &str) -> Result<(), Trouble> {
    let why = match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => return Ok(()),
        Ok(status) => format!("the authority gave up: {status:?}"),
        Err(error) => explain(&error),
    };
    let reasons = reasons(order).await;
    let why = if reasons.is_empty() { why } else { format!("the authority says {}", reasons.join("; ")) };
    Err(Trouble::new(format!("proving that {domain} is ours"), why))
}

/// What the authority saw instead of what it wanted, for each name.
async fn reasons(order: &mut Order) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let name = state.identifier().to_string();
        let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        let details = problems.filter_map(|problem| problem.detail.as_deref());
        reasons.extend(details.map(|detail| format!("of {name}: {detail}")));
    }
    reasons
}
