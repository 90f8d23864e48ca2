//! The nodes of the fleet, and what was last heard of each.

mod client;
mod connect;
mod guest;
mod lines;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use wire::id::NodeId;
use wire::image::Digest;
use wire::node::{Capacity, NodeReport};

use crate::config::NodeAddress;
use crate::placement::Candidate;

pub use client::{NodeClient, NodeFailure};
pub use guest::{GuestAnswer, GuestEvent, Upload};
pub use lines::Lines;

/// The fleet.
pub struct Nodes {
    all: Vec<Arc<Node>>,
}

/// One node.
pub struct Node {
    /// How to ask it things.
    pub client: NodeClient,
    /// Where it listens.
    pub socket: PathBuf,
    heard: RwLock<Heard>,
}

#[derive(Default, Clone)]
struct Heard {
    report: Option<NodeReport>,
    reachable: bool,
}

impl Nodes {
    /// The nodes at these addresses. Nothing is asked yet.
    pub fn new(addresses: Vec<NodeAddress>) -> Self {
        let node = |address: NodeAddress| Node {
            client: NodeClient::new(&address.socket),
            socket: address.socket,
            heard: RwLock::default(),
        };
        Self { all: addresses.into_iter().map(|address| Arc::new(node(address))).collect() }
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Node>] {
        &self.all
    }

    /// The node with this id; those that never said theirs are asked.
    pub async fn get(&self, id: &NodeId) -> Option<Arc<Node>> {
        for node in &self.all {
            if node.id().is_none() {
                let _ = node.refresh().await;
            }
            if node.id().as_ref() == Some(id) {
                return Some(node.clone());
            }
        }
        None
    }

    /// A node that answers.
    pub async fn any_reachable(&self) -> Option<Arc<Node>> {
        for node in &self.all {
            if node.refresh().await.is_ok() {
                return Some(node.clone());
            }
        }
        None
    }

    /// Asks every node how it is.
    pub async fn refresh(&self) {
        for node in &self.all {
            if let Err(failure) = node.refresh().await {
                tracing::warn!(socket = %node.socket.display(), %failure, "a node does not answer");
            }
        }
    }

    /// Those that answered when last asked, as `placement` wants to see them.
    pub fn candidates(&self, image: &Digest, promised: &HashMap<NodeId, Capacity>) -> Vec<Candidate> {
        let reports = self.all.iter().filter(|node| node.is_reachable()).filter_map(|node| node.report());
        reports
            .map(|report| Candidate {
                promised: promised.get(&report.id).copied().unwrap_or_default(),
                has_image: report.images.contains(image),
                capacity: report.capacity,
                id: report.id,
            })
            .collect()
    }
}

impl Node {
    /// Its id, once it has said it.
    pub fn id(&self) -> Option<NodeId> {
        self.report().map(|report| report.id)
    }

    /// What it said last.
    pub fn report(&self) -> Option<NodeReport> {
        self.heard().report
    }

    /// Whether it answered when it was last asked.
    pub fn is_reachable(&self) -> bool {
        self.heard().reachable
    }

    /// Asks it how it is.
    pub async fn refresh(&self) -> Result<NodeReport, NodeFailure> {
        let answer = self.client.report().await;
        let mut heard = self.heard.write().unwrap_or_else(PoisonError::into_inner);
        heard.reachable = answer.is_ok();
        if let Ok(report) = &answer {
            heard.report = Some(report.clone());
        }
        answer
    }

    fn heard(&self) -> Heard {
        self.heard.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
