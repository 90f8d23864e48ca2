//! Bodies of answers: bounded in size, and in how slowly they may come.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::Instant;

use crate::oci::failure::{Trouble, invalid};
use crate::oci::settings::Patience;

/// A body that is still coming.
#[derive(Debug)]
pub(crate) struct Body {
    incoming: Incoming,
    place: String,
    window: Duration,
    window_bytes_min: u64,
    /// How long was waited in this window. Time in which nobody read is not the registry's.
    waited: Duration,
    window_bytes: u64,
}

impl Body {
    pub(crate) fn new(incoming: Incoming, place: String, patience: &Patience) -> Self {
        Self {
            incoming,
            place,
            window: patience.window,
            window_bytes_min: patience.window_bytes_min,
            waited: Duration::ZERO,
            window_bytes: 0,
        }
    }

    /// Its next bytes; none at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        loop {
            let Some(frame) = self.frame().await? else { return Ok(None) };
            let frame = frame.map_err(|error| {
                Trouble::passing(format!("{} broke off: {}", self.place, wire::causes::chain(&error)))
            })?;
            if let Ok(bytes) = frame.into_data() {
                self.window_bytes += bytes.len() as u64;
                return Ok(Some(bytes));
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, Trouble> {
        loop {
            let began = Instant::now();
            let left = self.window.saturating_sub(self.waited);
            let frame = tokio::time::timeout(left, self.incoming.frame()).await;
            self.waited += began.elapsed();
            if let Ok(frame) = frame {
                return Ok(frame);
            }
            self.open_window()?;
        }
    }

    /// Whoever was too slow in the last window gets no other one.
    fn open_window(&mut self) -> Result<(), Trouble> {
        if self.window_bytes < self.window_bytes_min {
            let (came, window) = (self.window_bytes, self.window.as_secs());
            return Err(Trouble::passing(format!("{} sent {came} bytes in {window} s", self.place)));
        }
        (self.window_bytes, self.waited) = (0, Duration::ZERO);
        Ok(())
    }

    fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }
}

/// All of a body, which has so many bytes at most.
pub(crate) async fn read_bounded(what: &str, body: &mut Body, bytes_max: usize) -> Result<Bytes, Trouble> {
    let too_long = || invalid(format!("{what} from {} has more than {bytes_max} bytes", body.place));
    if body.length().is_some_and(|length| length > bytes_max as u64) {
        return Err(too_long().into());
    }
    let length = body.length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let mut all = BytesMut::with_capacity(length);
    while let Some(bytes) = body.next().await? {
        if all.len() + bytes.len() > bytes_max {
            return Err(invalid(format!("{what} from {} has more than {bytes_max} bytes", body.place)).into());
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}
