//! What registries want to see, as templates keep it.

use wire::id::{TeamId, TemplateId};
use wire::image::RegistryCredentials;

use super::record::TemplateRecord;
use crate::error::{Error, Result};
use crate::fleet::Fleet;
use crate::secrets::Sealed;

/// Whose credentials these are: in another template's place they do not open.
fn owner(team: &TeamId, id: &TemplateId) -> String {
    format!("{team}/{id}")
}

/// Seals credentials for a template.
pub fn seal(
    fleet: &Fleet,
    team: &TeamId,
    id: &TemplateId,
    credentials: &RegistryCredentials,
) -> Result<Sealed> {
    let json =
        serde_json::to_vec(credentials).map_err(|error| Error::internal("cannot write JSON", error))?;
    let text = fleet.secrets.seal(&json, &owner(team, id))?;
    Ok(Sealed { kind: credentials.kind().to_owned(), text })
}

/// The credentials of a template, if it has any.
///
/// # Errors
/// [`Error::SealedCredentials`] when they do not open.
pub fn unseal(fleet: &Fleet, record: &TemplateRecord) -> Result<Option<RegistryCredentials>> {
    let (Some(sealed), Some(team)) = (&record.credentials, &record.team) else { return Ok(None) };
    let opened = fleet.secrets.unseal(&sealed.text, &owner(team, &record.id));
    let json = opened.map_err(|why| Error::SealedCredentials { name: record.name.clone(), why })?;
    // What serde says of a text may quote it.
    let unreadable = |_| Error::internal("credentials cannot be read", "they are of another version");
    serde_json::from_slice(&json).map(Some).map_err(unreadable)
}

/// Seals everything with the key that seals now. What does not open is named, and stays as it is.
pub async fn reseal(fleet: &Fleet) -> Result<()> {
    for record in fleet.store.templates_with_credentials().await? {
        let Some(sealed) = record.credentials.as_ref() else { continue };
        match unseal(fleet, &record) {
            Ok(_) if fleet.secrets.is_current(&sealed.text) => {}
            Ok(opened) => {
                let (Some(team), Some(credentials)) = (&record.team, opened) else { continue };
                let new = seal(fleet, team, &record.id, &credentials)?;
                fleet.store.reseal(&record.id, &sealed.text, &new.text).await?;
            }
            Err(error) => tracing::error!(template = %record.id, "{error}"),
        }
    }
    Ok(())
}
