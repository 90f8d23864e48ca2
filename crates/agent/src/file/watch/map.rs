//! Where each watch of the kernel's is, as far as its events have told.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};

use tokio::sync::OwnedSemaphorePermit;
use wire::guest::watch::DEPTH_MAX;

/// The number the kernel gave a watch.
pub type Watched = i32;

/// The directories that are watched: one that was asked for, and others below it.
pub struct Map {
    base: Watched,
    places: HashMap<Watched, Place>,
    below: BTreeMap<(Watched, CString), Watched>,
}

struct Place {
    /// `None` for the one that was asked for.
    at: Option<(Watched, CString)>,
    /// It counts until it is forgotten.
    _counted: OwnedSemaphorePermit,
}

impl Map {
    /// Of one directory.
    pub fn new(base: Watched, counted: OwnedSemaphorePermit) -> Self {
        let places = HashMap::from([(base, Place { at: None, _counted: counted })]);
        Self { base, places, below: BTreeMap::new() }
    }

    /// The directory that was asked for.
    pub fn base(&self) -> Watched {
        self.base
    }

    /// Whether a watch is one of these.
    pub fn has(&self, watched: Watched) -> bool {
        self.places.contains_key(&watched)
    }

    /// The directory of this name in that one.
    pub fn child(&self, above: Watched, name: &CStr) -> Option<Watched> {
        self.below.get(&(above, name.to_owned())).copied()
    }

    /// The names from the directory that was asked for down to this one. `None` if it is not known, or too deep.
    pub fn names(&self, watched: Watched) -> Option<Vec<&CStr>> {
        let (mut names, mut at) = (Vec::new(), watched);
        while let Some((above, name)) = &self.places.get(&at)?.at {
            // Mounts can make a directory lie in itself.
            if names.len() >= DEPTH_MAX {
                return None;
            }
            names.push(name.as_c_str());
            at = *above;
        }
        names.reverse();
        Some(names)
    }

    /// A directory is found here, whether it was known or not.
    pub fn put(&mut self, watched: Watched, above: Watched, name: &CStr, counted: OwnedSemaphorePermit) {
        self.detach(watched);
        self.attach(watched, above, name);
        let at = Some((above, name.to_owned()));
        self.places.insert(watched, Place { at, _counted: counted });
    }

    /// A directory that is known is here now.
    pub fn relocate(&mut self, watched: Watched, above: Watched, name: &CStr) {
        self.detach(watched);
        if let Some(place) = self.places.get_mut(&watched) {
            place.at = Some((above, name.to_owned()));
            self.attach(watched, above, name);
        }
    }

    /// Forgets a directory and all below it, and says which they were.
    pub fn forget(&mut self, watched: Watched) -> Vec<Watched> {
        self.detach(watched);
        let (mut left, mut gone) = (vec![watched], Vec::new());
        while let Some(watched) = left.pop() {
            let children: Vec<_> =
                self.children(watched).map(|(name, child)| (name.clone(), child)).collect();
            for (name, child) in children {
                self.below.remove(&(watched, name));
                left.push(child);
            }
            if self.places.remove(&watched).is_some() {
                gone.push(watched);
            }
        }
        gone
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = Watched> {
        self.places.keys().copied()
    }

    fn children(&self, watched: Watched) -> impl Iterator<Item = (&CString, Watched)> {
        let from = (watched, CString::default());
        let of_it = self.below.range(from..).take_while(move |((above, _), _)| *above == watched);
        of_it.map(|((_, name), child)| (name, *child))
    }

    fn attach(&mut self, watched: Watched, above: Watched, name: &CStr) {
        self.below.insert((above, name.to_owned()), watched);
    }

    fn detach(&mut self, watched: Watched) {
        if let Some(Place { at: Some(at), .. }) = self.places.get(&watched)
            && self.below.get(at) == Some(&watched)
        {
            self.below.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    /// 0 with 1 (`a`) with 2 (`b`) with 3 (`c`).
    fn map(count: &Arc<Semaphore>) -> Map {
        let permit = || count.clone().try_acquire_owned().unwrap();
        let mut map = Map::new(0, permit());
        for (watched, name) in [(1, c"a"), (2, c"b"), (3, c"c")] {
            map.put(watched, watched - 1, name, permit());
        }
        map
    }

    fn count() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(10))
    }

    #[test]
    fn what_moves_takes_along_what_is_below() {
        let mut map = map(&count());
        assert_eq!(map.names(3).unwrap(), [c"a", c"b", c"c"]);
        map.relocate(2, 0, c"x");
        assert_eq!(map.names(3).unwrap(), [c"x", c"c"]);
        assert_eq!((map.child(1, c"b"), map.child(0, c"x")), (None, Some(2)));
    }

    #[test]
    fn what_is_forgotten_takes_along_what_is_below_and_is_not_counted() {
        let count = count();
        let mut map = map(&count);
        assert_eq!(count.available_permits(), 6);
        assert_eq!(map.forget(2), [2, 3]);
        assert_eq!(count.available_permits(), 8);
        assert!(map.has(1) && !map.has(3) && map.names(3).is_none());
        assert_eq!(map.forget(2), [0; 0]);
        drop(map);
        assert_eq!(count.available_permits(), 10);
    }

    #[test]
    fn a_directory_in_itself_has_no_path_and_can_be_forgotten() {
        let mut map = map(&count());
        map.relocate(1, 3, c"loop");
        assert_eq!(map.names(2), None);
        assert_eq!(map.forget(1).len(), 3);
    }
}
