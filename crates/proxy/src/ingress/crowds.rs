//! Who is here at once: connections of an address, requests to a sandbox, requests with a key. One who floods us takes no
//! room of others.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
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
pub struct Crowd<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One of them, until this is dropped.
#[derive(Debug)]
pub struct Member<K: Eq + Hash> {
    crowd: Arc<Mutex<HashMap<K, usize>>>,
    of: K,
}

impl<K> Default for Crowd<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Clone> Crowd<K> {
    /// One more, if there are fewer than `most`.
    pub fn enter(&self, of: &K, most: usize) -> Option<Member<K>> {
        let mut counts = locked(&self.0);
        if counts.get(of).copied().unwrap_or_default() >= most {
            return None;
        }
        *counts.entry(of.clone()).or_default() += 1;
        Some(Member { crowd: self.0.clone(), of: of.clone() })
    }
}

impl<K: Eq + Hash> Drop for Member<K> {
    fn drop(&mut self) {
        let mut counts = locked(&self.crowd);
        if let Some(count) = counts.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.of);
            }
        }
    }
}

fn locked<K>(counts: &Mutex<HashMap<K, usize>>) -> MutexGuard<'_, HashMap<K, usize>> {
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
        if let Some(member) = self.addresses.enter(&owner, most) {
            return Some(Visitor { _address: member, refusal: None });
        }
        let member = self.told.enter(&owner, TOLD_MAX)?;
        let message = format!("your address has {most} connections to us, and no more are allowed");
        let refusal = full(StatusCode::TOO_MANY_REQUESTS, "address_connections_max", &message);
        Some(Visitor { _address: member, refusal: Some(refusal) })
    }

    /// One more request to this sandbox, with this key if one opened it.
    ///
    /// # Errors
    /// When there are too many under way.
    pub fn guest(&self, sandbox: &SandboxId, key: Option<&KeyId>, limits: &Limits) -> Result<Guest, Refusal> {
        let key = key.map(|key| {
            let most = limits.key_requests_max;
            self.keys.enter(key, most).ok_or_else(|| {
                let message = format!("{most} requests with this key are under way, and no more are allowed");
                full(StatusCode::TOO_MANY_REQUESTS, "key_requests_max", &message)
            })
        });
        let most = limits.sandbox_requests_max;
        let of_sandbox = self.sandboxes.enter(sandbox, most).ok_or_else(|| {
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
        let (one, other) = (SandboxId::from_entropy([1; 20]), SandboxId::from_entropy([2; 20]));
        let (crowds, limits) = (Crowds::default(), limits(3));
        let guests: Vec<_> = (0..3).map(|_| crowds.guest(&one, None, &limits).unwrap()).collect();
        let refusal = crowds.guest(&one, None, &limits).unwrap_err();
        assert_eq!((refusal.status, refusal.retry_after_seconds), (StatusCode::SERVICE_UNAVAILABLE, Some(5)));
        assert_eq!(refusal.code, "sandbox_requests_max");
        drop(crowds.guest(&other, None, &limits).unwrap());
        drop(guests);
        drop(crowds.guest(&one, None, &limits).unwrap());
        assert!(locked(&crowds.sandboxes.0).is_empty(), "nobody is remembered who is not there");
    }

    #[test]
    fn a_key_has_its_limit_over_all_sandboxes_and_one_that_is_refused_counts_for_nothing() {
        let sandbox = |number: u8| SandboxId::from_entropy([number; 20]);
        let (key, crowds, limits) = (KeyId::from_entropy([1; 20]), Crowds::default(), limits(1));
        let first = crowds.guest(&sandbox(1), Some(&key), &limits).unwrap();
        for _ in 0..5 {
            assert_eq!(
                crowds.guest(&sandbox(1), Some(&key), &limits).unwrap_err().code,
                "sandbox_requests_max"
            );
        }
        let second = crowds.guest(&sandbox(2), Some(&key), &limits).unwrap();
        let refusal = crowds.guest(&sandbox(3), Some(&key), &limits).unwrap_err();
        assert_eq!((refusal.status.as_u16(), &*refusal.code), (429, "key_requests_max"));
        drop(crowds.guest(&sandbox(3), None, &limits).unwrap());
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
