//! Updates (RFC 2136) of a zone, each signed, as are the answers (RFC 8945). Over TCP, where nothing is cut short.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_proto::op::{Message, Query, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{Name, RData, Record, RecordSet, RecordType, TSigner};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Update;
use crate::trouble::Trouble;

/// A question has so long to be answered.
const ASK_BOUND: Duration = Duration::from_secs(10);
/// How long the server may take to show what it has taken.
const SETTLE_BOUND: Duration = Duration::from_secs(60);
/// Between two looks at whether it does.
const SETTLE_POLL: Duration = Duration::from_millis(250);
/// How far our clock and the server's may be apart, in seconds (RFC 8945, 10).
const FUDGE_SECONDS: u16 = 300;
/// How long others may remember a record, in seconds: as short as makes sense.
const TTL_SECONDS: u32 = 60;

/// A server that takes updates.
pub(crate) struct Server {
    address: String,
    zone: Name,
    name: Name,
    signer: TSigner,
}

impl Server {
    /// The one that has this name in a zone of its.
    pub(crate) fn new(update: &Update, name: &str) -> Result<Self, Trouble> {
        let parse = |text: &str| {
            let mut name =
                Name::from_ascii(text).map_err(|error| Trouble::new(format!("the name {text}"), error))?;
            name.set_fqdn(true);
            Ok::<_, Trouble>(name)
        };
        let (zone, name, key_name) = (parse(&update.zone)?, parse(name)?, parse(&update.key_name)?);
        if !zone.zone_of(&name) {
            return Err(Trouble::new(format!("the zone {zone}"), format!("{name} is not in it")));
        }
        let doing = || format!("the key {key_name}");
        let key = STANDARD.decode(update.key.0.trim());
        let key = key.map_err(|error| Trouble::new(doing(), format!("it is not in base64: {error}")))?;
        let signer = TSigner::new(key, TsigAlgorithm::HmacSha256, key_name.clone(), FUDGE_SECONDS);
        let signer = signer.map_err(|error| Trouble::new(doing(), error))?;
        Ok(Self { address: update.server.clone(), zone, name, signer })
    }

    /// Adds a record of this value.
    pub(crate) async fn add(&self, value: &str) -> Result<(), Trouble> {
        let message = update_message::append(self.record(value), self.zone.clone(), false, false);
        self.ask(message).await.map(drop)
    }

    /// Removes the record of this value.
    pub(crate) async fn remove(&self, value: &str) -> Result<(), Trouble> {
        let message = update_message::delete_by_rdata(self.record(value), self.zone.clone(), false);
        self.ask(message).await.map(drop)
    }

    /// Waits until the server shows them all.
    pub(crate) async fn settle(&self, values: &[String]) -> Result<(), Trouble> {
        let seen = async {
            while !self.shows(values).await? {
                tokio::time::sleep(SETTLE_POLL).await;
            }
            Ok(())
        };
        match tokio::time::timeout(SETTLE_BOUND, seen).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let seconds = SETTLE_BOUND.as_secs();
                Err(self
                    .trouble(format!("what it has taken for {} is not seen within {seconds} s", self.name)))
            }
        }
    }

    async fn shows(&self, values: &[String]) -> Result<bool, Trouble> {
        let mut message = Message::query();
        message.add_query(Query::query(self.name.clone(), RecordType::TXT));
        let answer = self.ask(message).await?;
        let shown: Vec<Vec<u8>> = answer.answers.iter().filter_map(text).collect();
        Ok(values.iter().all(|value| shown.iter().any(|shown| shown == value.as_bytes())))
    }

    fn record(&self, value: &str) -> RecordSet {
        let data = RData::TXT(TXT::new(vec![value.to_owned()]));
        Record::from_rdata(self.name.clone(), TTL_SECONDS, data).into()
    }

    /// Signs and asks, and believes nothing but a signed answer.
    async fn ask(&self, mut message: Message) -> Result<Message, Trouble> {
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let signed = message.finalize(&self.signer, now);
        let mut verifier = signed
            .and_then(|verifier| verifier.ok_or_else(|| "nothing was signed".into()))
            .map_err(|error| self.trouble(error))?;
        let question = message.to_vec().map_err(|error| self.trouble(error))?;
        let bytes = match tokio::time::timeout(ASK_BOUND, self.exchange(&question)).await {
            Ok(bytes) => bytes.map_err(|error| self.trouble(error))?,
            Err(_) => return Err(self.trouble(format!("no answer within {} s", ASK_BOUND.as_secs()))),
        };
        let answer = Message::from_vec(&bytes).map_err(|error| self.trouble(error))?;
        if answer.id != message.id {
            return Err(self.trouble("it answers what was not asked"));
        }
        // A refusal need not be signed, for the server may not know the key; nothing is done upon it but to say so.
        if !matches!(answer.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
            return Err(self.trouble(self.refusal(&answer)));
        }
        let verified = verifier.verify(&bytes);
        verified
            .map_err(|error| self.trouble(format!("its answer is not signed as it should be: {error}")))?;
        Ok(answer)
    }

    /// One message there and one back, each after its length (RFC 1035, 4.2.2).
    async fn exchange(&self, question: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
        let mut answer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    fn refusal(&self, answer: &Message) -> String {
        let (key, zone) = (self.signer.signer_name(), &self.zone);
        let why = answer.signature.as_ref().and_then(|signature| signature.data.error);
        match (why, answer.response_code) {
            (Some(TsigError::BadKey), _) => format!("it knows no key {key}, or not for HMAC-SHA256 (BADKEY)"),
            (Some(TsigError::BadSig), _) => format!("its key {key} has another secret than ours (BADSIG)"),
            (Some(TsigError::BadTime), _) => "its clock and ours are too far apart (BADTIME)".into(),
            (_, ResponseCode::Refused) => {
                format!("the key {key} may not change or see TXT records of {} (REFUSED)", self.name)
            }
            (_, ResponseCode::NotAuth | ResponseCode::NotZone) => format!("it has no zone {zone} (NOTAUTH)"),
            (_, code) => code.to_string(),
        }
    }

    fn trouble(&self, why: impl std::fmt::Display) -> Trouble {
        Trouble::new(format!("asking the DNS server {}", self.address), why)
    }
}

/// The text of a TXT record.
fn text(record: &Record) -> Option<Vec<u8>> {
    match &record.data {
        RData::TXT(text) => Some(text.txt_data.concat()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn update(zone: &str, key: &str) -> Update {
        Update {
            server: "127.0.0.1:53".into(),
            zone: zone.into(),
            key_name: "acme".into(),
            key: Secret(key.into()),
        }
    }

    #[test]
    fn a_name_must_be_in_the_zone_and_a_key_in_base64() {
        let name = "_acme-challenge.sandbox.example.test";
        assert!(Server::new(&update("example.test.", "c2VjcmV0\n"), name).is_ok());
        let told = |update: &Update| Server::new(update, name).map(drop).unwrap_err().to_string();
        assert!(told(&update("example.org", "c2VjcmV0")).contains("is not in it"));
        let shown = told(&update("example.test", "sec?ret"));
        assert!(shown.contains("base64") && !shown.contains("sec?ret"), "{shown}");
    }
}
