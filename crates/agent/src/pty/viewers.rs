//! Who looks at a terminal. The program waits for all of them, but not for ever for one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use wire::guest::pty::STALL_SECONDS_MAX;
use wire::guest::{Error, ErrorCode};

/// Viewers of one terminal at once.
const VIEWERS_MAX: usize = 64;
/// Bytes a viewer may be behind, besides the redraw it begins with; then the program waits.
const BEHIND_BYTES_MAX: usize = 64 * 1024;

/// All viewers of one terminal.
#[derive(Default)]
pub struct Viewers {
    all: RefCell<Vec<Rc<Viewer>>>,
    /// Nobody is waited for any more.
    is_closing: Cell<bool>,
}

/// One viewer.
#[derive(Default)]
pub struct Viewer {
    behind: RefCell<BytesMut>,
    is_let_go: Cell<bool>,
    /// Something came, or the viewer is let go.
    came: Notify,
    /// Something was taken, or the viewer is gone.
    took: Notify,
    let_go: Notify,
}

/// A viewer's place, given back with this value.
pub struct Place {
    viewers: Rc<Viewers>,
    /// The viewer.
    pub viewer: Rc<Viewer>,
}

impl Viewers {
    /// One more, who is shown `redraw` first.
    pub fn enter(self: &Rc<Self>, redraw: Vec<u8>) -> Result<Place, Error> {
        let mut all = self.all.borrow_mut();
        if all.len() >= VIEWERS_MAX {
            let message = format!("{VIEWERS_MAX} viewers look at this terminal already");
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        let viewer = Rc::new(Viewer { behind: RefCell::new(redraw.as_slice().into()), ..Viewer::default() });
        all.push(viewer.clone());
        Ok(Place { viewers: self.clone(), viewer })
    }

    /// Shows these bytes to everybody. Call [`Viewers::room`] first.
    pub fn show(&self, bytes: &[u8]) {
        for viewer in self.all.borrow().iter() {
            if !self.is_closing.get() || !viewer.is_full() {
                viewer.behind.borrow_mut().extend_from_slice(bytes);
                viewer.came.notify_one();
            }
        }
    }

    /// Waits until nobody is too far behind. Whoever takes nothing for [`STALL_SECONDS_MAX`] meanwhile is let go.
    pub async fn room(&self) {
        let bound = Duration::from_secs(STALL_SECONDS_MAX);
        while let Some(viewer) = self.last() {
            if tokio::time::timeout(bound, viewer.took.notified()).await.is_err() {
                viewer.is_let_go.set(true);
                viewer.let_go.notify_one();
                self.remove(&viewer);
            }
        }
    }

    /// Somebody who is too far behind.
    fn last(&self) -> Option<Rc<Viewer>> {
        let all = self.all.borrow();
        all.iter().find(|viewer| viewer.is_full() && !self.is_closing.get()).cloned()
    }

    /// The program is being ended: it waits for nobody from now on, and what is too much is not shown.
    pub fn close(&self) {
        self.is_closing.set(true);
        self.all.borrow().iter().for_each(|viewer| viewer.took.notify_one());
    }

    /// Something other than bytes has happened that viewers look for.
    pub fn wake(&self) {
        self.all.borrow().iter().for_each(|viewer| viewer.came.notify_one());
    }

    fn remove(&self, viewer: &Rc<Viewer>) {
        self.all.borrow_mut().retain(|other| !Rc::ptr_eq(other, viewer));
    }
}

impl Viewer {
    /// Whether there is something to take.
    pub fn has_some(&self) -> bool {
        !self.behind.borrow().is_empty()
    }

    /// Takes so many bytes at most.
    pub fn take(&self, bytes_max: usize) -> Bytes {
        let mut behind = self.behind.borrow_mut();
        let length = behind.len().min(bytes_max);
        let taken = behind.split_to(length).freeze();
        if behind.is_empty() {
            // Lets go of the room that a redraw needed.
            *behind = BytesMut::new();
        }
        self.took.notify_one();
        taken
    }

    /// Waits for something to come.
    pub async fn came(&self) {
        self.came.notified().await;
    }

    /// Waits until this viewer is let go.
    pub async fn let_go(&self) {
        if !self.is_let_go.get() {
            self.let_go.notified().await;
        }
    }

    fn is_full(&self) -> bool {
        self.behind.borrow().len() >= BEHIND_BYTES_MAX
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.viewers.remove(&self.viewer);
        self.viewer.took.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_program_waits_for_a_slow_viewer_and_lets_a_stalled_one_go() {
        let viewers = Rc::new(Viewers::default());
        let fast = viewers.enter(Vec::new()).unwrap();
        let slow = viewers.enter(Vec::new()).unwrap();
        viewers.show(&vec![b'x'; BEHIND_BYTES_MAX]);
        assert_eq!(fast.viewer.take(usize::MAX).len(), BEHIND_BYTES_MAX);
        let nearly = Duration::from_secs(STALL_SECONDS_MAX - 1);
        assert!(tokio::time::timeout(nearly, viewers.room()).await.is_err(), "it did not wait");
        slow.viewer.take(1);
        viewers.room().await;
        viewers.show(b"yz");
        viewers.room().await;
        slow.viewer.let_go().await;
        assert_eq!(viewers.all.borrow().len(), 1);
        viewers.show(b"more");
        assert_eq!(fast.viewer.take(usize::MAX), "yzmore");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_viewer_who_left_or_when_all_is_over() {
        let viewers = Rc::new(Viewers::default());
        let place = viewers.enter(vec![0; BEHIND_BYTES_MAX]).unwrap();
        let begun = tokio::time::Instant::now();
        let leave = async { drop(place) };
        tokio::join!(viewers.room(), leave);
        let other = viewers.enter(vec![0; BEHIND_BYTES_MAX]).unwrap();
        viewers.close();
        viewers.room().await;
        viewers.show(b"too much");
        assert_eq!(other.viewer.take(usize::MAX).len(), BEHIND_BYTES_MAX);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[test]
    fn there_are_only_so_many_viewers() {
        let viewers = Rc::new(Viewers::default());
        let mut places: Vec<_> = (0..VIEWERS_MAX).map(|_| viewers.enter(Vec::new()).unwrap()).collect();
        assert_eq!(viewers.enter(Vec::new()).err().unwrap().code, ErrorCode::TooMany);
        places.pop();
        assert!(viewers.enter(Vec::new()).is_ok());
    }
}
