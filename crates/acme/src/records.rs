//! The records that prove whose the domain is: there while they are looked at, and known on disk until they are gone, so
//! that neither a failure nor a crash leaves one behind.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;
use crate::dns::Way;
use crate::files;
use crate::trouble::Trouble;

/// Where authorities look (RFC 8555, 8.4), in the domain.
const LABEL: &str = "_acme-challenge";

/// The records of one domain.
pub(crate) struct Records {
    way: Way,
    name: String,
    list: PathBuf,
    wait: Duration,
}

impl Records {
    pub(crate) fn new(config: &Config) -> Result<Self, Trouble> {
        let name = format!("{LABEL}.{}", config.domain);
        Ok(Self {
            way: Way::new(&config.dns, &name)?,
            name,
            list: config.dir.join("presented.json"),
            wait: Duration::from_secs(config.wait_seconds.into()),
        })
    }

    /// Puts one record for each value there, beside what is there, and waits until they can be seen.
    pub(crate) async fn present(&self, values: &[String]) -> Result<(), Trouble> {
        if values.is_empty() {
            return Ok(());
        }
        // Some of earlier may be left.
        let mut listed = files::read_json::<Vec<String>>(&self.list)?.unwrap_or_default();
        for value in values {
            listed.push(value.clone());
            files::write_json(&self.list, &listed)?;
            self.way.add(&self.name, value).await?;
        }
        self.way.settle(values).await?;
        tokio::time::sleep(self.wait).await;
        Ok(())
    }

    /// Removes what is there of ours. What cannot be removed is tried again by the next call.
    pub(crate) async fn clear(&self) -> Result<(), Trouble> {
        let Some(values) = files::read_json::<Vec<String>>(&self.list)? else { return Ok(()) };
        let (mut trouble, mut left) = (None, Vec::new());
        for value in values {
            if let Err(error) = self.way.remove(&self.name, &value).await {
                trouble = Some(error);
                left.push(value);
            }
        }
        match trouble {
            None => files::remove(&self.list),
            Some(trouble) => files::write_json(&self.list, &left).and(Err(trouble)),
        }
    }
}
