//! What a machine goes on from.

use std::path::PathBuf;

use tokio::sync::watch;

use crate::Error;

/// A checkpoint that a machine is to go on from. It may still be on its way while the rest of the machine is made.
#[derive(Debug, Clone)]
pub struct Checkpoint(watch::Receiver<Option<Arrival>>);

/// Where the checkpoint's directory is, or why there is none, for people.
pub type Arrival = Result<PathBuf, String>;

impl Checkpoint {
    /// One that has arrived when the sender has said so.
    pub fn coming() -> (watch::Sender<Option<Arrival>>, Self) {
        let (tell, told) = watch::channel(None);
        (tell, Self(told))
    }

    /// Its directory, once it is there.
    pub(crate) async fn arrived(&self) -> Result<PathBuf, Error> {
        let mut told = self.0.clone();
        let told = told.wait_for(Option::is_some).await.ok().and_then(|arrival| arrival.clone());
        let gone = || Err("nobody says any more where the checkpoint is".to_owned());
        told.unwrap_or_else(gone).map_err(Error::NoCheckpoint)
    }
}

/// One that is there.
impl From<PathBuf> for Checkpoint {
    fn from(directory: PathBuf) -> Self {
        Self(watch::channel(Some(Ok(directory))).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_checkpoint_is_waited_for_until_it_is_there_or_will_not_be() {
        let (tell, checkpoint) = Checkpoint::coming();
        let waits = checkpoint.clone();
        let waiting = tokio::spawn(async move { waits.arrived().await });
        tell.send_replace(Some(Ok("there".into())));
        assert_eq!(waiting.await.unwrap().unwrap(), PathBuf::from("there"));
        tell.send_replace(Some(Err("it is damaged".into())));
        assert_eq!(checkpoint.arrived().await.unwrap_err().to_string(), "it is damaged");
        let (_, given_up) = Checkpoint::coming();
        assert!(matches!(given_up.arrived().await, Err(Error::NoCheckpoint(_))));
        assert_eq!(Checkpoint::from(PathBuf::from("here")).arrived().await.unwrap(), PathBuf::from("here"));
    }
}
