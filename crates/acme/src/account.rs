//! Who we are to the authority: a key that it has seen before, or a new one.

use std::path::{Path, PathBuf};

use instant_acme::{Account, AccountCredentials, Error, NewAccount};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::files;
use crate::https::Https;
use crate::trouble::Trouble;

/// What the authority calls accounts that it does not know (RFC 8555, 6.7).
const UNKNOWN: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    contact: Option<String>,
    credentials: AccountCredentials,
}

fn file(dir: &Path) -> PathBuf {
    dir.join("account.json")
}

/// The account that is kept, or a new one, which is kept from now on.
pub(crate) async fn open(config: &Config) -> Result<Account, Trouble> {
    let path = file(&config.dir);
    let builder = Account::builder_with_http(Box::new(Https::new(config.signers.as_deref())?));
    let doing = format!("opening an account at {}", config.directory);
    let contact = config.contact.as_ref().map(|address| format!("mailto:{address}"));
    let contacts: Vec<&str> = contact.as_deref().into_iter().collect();
    match files::read_json::<Kept>(&path)? {
        Some(kept) => {
            let is_told = kept.contact == config.contact;
            let account = builder.from_credentials(kept.credentials).await.map_err(Trouble::acme(&doing))?;
            if !is_told {
                account.update_contacts(&contacts).await.map_err(Trouble::acme(&doing))?;
                note_contact(&path, config)?;
            }
            Ok(account)
        }
        None => {
            let new =
                NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
            let created = builder.create(&new, config.directory.clone(), None).await;
            let (account, credentials) = created.map_err(Trouble::acme(&doing))?;
            files::write_json(&path, &Kept { contact: config.contact.clone(), credentials })?;
            Ok(account)
        }
    }
}

/// The authority knows of a new contact.
fn note_contact(path: &Path, config: &Config) -> Result<(), Trouble> {
    match files::read_json::<Kept>(path)? {
        Some(kept) => files::write_json(path, &Kept { contact: config.contact.clone(), ..kept }),
        None => Ok(()),
    }
}

/// Forgets an account that the authority has forgotten, if that is what it says. Whether it was.
pub(crate) fn forget(dir: &Path, error: &Error) -> Result<bool, Trouble> {
    match error {
        Error::Api(problem) if problem.r#type.as_deref() == Some(UNKNOWN) => {
            files::remove(&file(dir)).map(|()| true)
        }
        _ => Ok(false),
    }
}
