//! Who is here at once: connections of an address, requests to a sandbox, requests with a key. One who floods us takes no
//! room of others.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use wire::id::{KeyId, SandboxId};

use super::limits::Limits;
use super::refusal::Refusal;

/// Connections of an address that has too many which are told so, at once.
const TOLD_MAX: usize = 8;
/// Bits of an address of IPv6 that are one client's own network.
const OWN_NETWORK_BITS: u32 = 64;

/// How many of something there are of each.
#[derive(Debug)]
pub struct Crowd<K>(Arc<Counts<K>>);

type Counts<K> = Mutex<HashMap<K, Arc<AtomicUsize>>>;

/// Where those of one are counted; it is forgotten with the last who knows it.
#[derive(Debug)]
pub struct Count<K: Eq + Hash> {
    counts: Arc<Counts<K>>,
    of: K,
    here: Arc<AtomicUsize>,
}

/// One of them, until this is dropped.
#[derive(Debug)]
pub struct Member<K: Eq + Hash>(Arc<Count<K>>);

impl<K> Default for Crowd<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Clone> Crowd<K> {
    /// Those of one.
    pub fn of(&self, of: &K) -> Arc<Count<K>> {
        let here = locked(&self.0).entry(of.clone()).or_default().clone();
        Arc::new(Count { counts: self.0.clone(), of: of.clone(), here })
    }
}

impl<K: Eq + Hash> Count<K> {
    /// One more, if there are fewer than `most`.
    pub fn enter(self: &Arc<Self>, most: usize) -> Option<Member<K>> {
        let more = |here| (here < most).then_some(here + 1);
        self.here.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Member(self.clone()))
    }
}

impl<K: Eq + Hash> Drop for Count<K> {
    fn drop(&mut self) {
        let mut counts = locked(&self.counts);
        // Nobody gets one while this is locked, so those who have it are the map and us.
        if Arc::strong_count(&self.here) == 2 {
            counts.remove(&self.of);
        }
    }
}

impl<K: Eq + Hash> Drop for Member<K> {
    fn drop(&mut self) {
        self.0.here.fetch_sub(1, Ordering::Relaxed);
    }
}

fn locked<K>(counts: &Counts<K>) -> MutexGuard<'_, HashMap<K, Arc<AtomicUsize>>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everybody who is here.
#[derive(Debug, Default)]
pub struct Crowds {
    addresses: Crowd<IpAddr>,
    told: Crowd<IpAddr>,
    sandboxes: Crowd<SandboxId>,
    keys: Crowd<KeyId>,
}

/// Where requests to a sandbox are counted, and those with the key that opened it.
#[derive(Debug)]
pub struct Seats {
    sandbox: Arc<Count<SandboxId>>,
    key: Option<Arc<Count<KeyId>>>,
}

/// A request under way.
#[derive(Debug)]
pub struct Guest {
    _sandbox: Member<SandboxId>,
    _key: Option<Member<KeyId>>,
}

/// A connection that is open.
#[derive(Debug)]
pub struct Visitor {
    _address: Member<IpAddr>,
    /// What it is told whatever it asks, if its address has too many.
    pub refusal: Option<Refusal>,
}

impl Crowds {
    /// One more connection of this address, which may have so many. `None`: it has so many that it is not answered.
    pub fn visitor(&self, address: IpAddr, most: usize) -> Option<Visitor> {
        let owner = owner(address);
        if let Some(member) = self.addresses.of(&owner).enter(most) {
            return Some(Visitor { _address: member, refusal: None });
        }
        let member = self.told.of(&owner).enter(TOLD_MAX)?;
        let message = format!("your address has {most} connections to us, and no more are allowed");
        let refusal = full(StatusCode::TOO_MANY_REQUESTS, "address_connections_max", &message);
        Some(Visitor { _address: member, refusal: Some(refusal) })
    }

    /// Where requests to this sandbox are counted, with this key if one opens it.
    pub fn seats(&self, sandbox: &SandboxId, key: Option<&KeyId>) -> Seats {
        Seats { sandbox: self.sandboxes.of(sandbox), key: key.map(|key| self.keys.of(key)) }
    }
}

impl Seats {
    /// One more request.
    ///
    /// # Errors
    /// When there are too many under way.
    pub fn enter(&self, limits: &Limits) -> Result<Guest, Refusal> {
        let key = self.key.as_ref().map(|key| {
            let most = limits.key_requests_max;
            key.enter(most).ok_or_else(|| {
                let message = format!("{most} requests with this key are under way, and no more are allowed");
                full(StatusCode::TOO_MANY_REQUESTS, "key_requests_max", &message)
            })
        });
        let most = limits.sandbox_requests_max;
        let of_sandbox = self.sandbox.enter(most).ok_or_else(|| {
            let sandbox = &self.sandbox.of;
            let message = format!("sandbox {sandbox} has {most} requests under way, and no more are allowed");
            full(StatusCode::SERVICE_UNAVAILABLE, "sandbox_requests_max", &message)
        });
        Ok(Guest { _key: key.transpose()?, _sandbox: of_sandbox? })
    }
}

fn full(status: StatusCode, limit: &'static str, message: &str) -> Refusal {
    Refusal::passing(status, limit, format!("{message} (`{limit}`); try again later"))
}

/// Whose an address is.
fn owner(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let own = u128::MAX << (u128::BITS - OWN_NETWORK_BITS);
            Ipv6Addr::from_bits(address.to_bits() & own).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(most: usize) -> Limits {
        Limits { sandbox_requests_max: most, key_requests_max: most + 1, ..Limits::default() }
    }

    #[test]
    fn one_that_is_flooded_takes_no_room_of_others() {
        let (crowds, limits) = (Crowds::default(), limits(3));
        let seats = |number: u8| crowds.seats(&SandboxId::from_entropy([number; 20]), None);
        let guests: Vec<_> = (0..3).map(|_| seats(1).enter(&limits).unwrap()).collect();
        let refusal = seats(1).enter(&limits).unwrap_err();
        assert_eq!((refusal.status, refusal.retry_after_seconds), (StatusCode::SERVICE_UNAVAILABLE, Some(5)));
        assert_eq!(refusal.code, "sandbox_requests_max");
        drop(seats(2).enter(&limits).unwrap());
        drop(guests);
        drop(seats(1).enter(&limits).unwrap());
        assert!(locked(&crowds.sandboxes.0).is_empty(), "nobody is remembered who is not there");
    }

    #[test]
    fn a_key_has_its_limit_over_all_sandboxes_and_one_that_is_refused_counts_for_nothing() {
        let (key, crowds, limits) = (KeyId::from_entropy([1; 20]), Crowds::default(), limits(1));
        let enter = |number: u8, key: Option<&KeyId>| {
            let entered = crowds.seats(&SandboxId::from_entropy([number; 20]), key).enter(&limits);
            entered.map_err(|refusal| (refusal.status.as_u16(), refusal.code.into_owned()))
        };
        let first = enter(1, Some(&key)).unwrap();
        for _ in 0..5 {
            assert_eq!(enter(1, Some(&key)).unwrap_err(), (503, "sandbox_requests_max".to_owned()));
        }
        let second = enter(2, Some(&key)).unwrap();
        assert_eq!(enter(3, Some(&key)).unwrap_err(), (429, "key_requests_max".to_owned()));
        drop(enter(3, None).unwrap());
        drop((first, second));
        assert!(locked(&crowds.keys.0).is_empty());
    }

    #[test]
    fn an_address_with_too_many_is_told_a_few_times_and_then_not_answered() {
        let crowds = Crowds::default();
        let near = |end: &str| format!("2001:db8::{end}").parse::<IpAddr>().unwrap();
        let here: Vec<_> = (0..2).map(|_| crowds.visitor(near("1"), 2).unwrap()).collect();
        assert!(here.iter().all(|visitor| visitor.refusal.is_none()));
        let told: Vec<_> = (0..TOLD_MAX).map(|_| crowds.visitor(near("2"), 2).unwrap()).collect();
        assert!(
            told.iter().all(|visitor| visitor.refusal.as_ref().unwrap().code == "address_connections_max")
        );
        assert!(crowds.visitor(near("3"), 2).is_none());
        let other = "2001:db8:0:1::1".parse().unwrap();
        assert!(crowds.visitor(other, 2).unwrap().refusal.is_none());
        drop((here, told));
        assert!(crowds.visitor(near("1"), 2).unwrap().refusal.is_none());
    }
}
