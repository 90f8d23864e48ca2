//! A batch of rtnetlink requests (rtnetlink(7)), sent at once and awaited together.
//!
//! Blocking, because a netlink socket belongs to the network namespace of the
//! thread that opened it, and such a thread does nothing else.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The loopback interface is the first of every namespace.
const LOOPBACK_INDEX: u32 = 1;

/// One end of a veth pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The interface's name.
    pub name: &'static str,
    /// Its number, which we choose so that nobody has to ask for it.
    pub index: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its address.
    pub address: Ipv4Addr,
}

/// Requests to be sent together.
#[derive(Default)]
pub(super) struct Batch {
    messages: Vec<RouteNetlinkMessage>,
}

impl Batch {
    /// A veth pair, both ends down (neither can come up before both are there): `near` here, `far` in another
    /// namespace from the start, as moving it there takes ten times as long as making it.
    pub(super) fn veth(mut self, near: End, far: End, far_namespace: BorrowedFd<'_>) -> Self {
        let mut peer = link(far);
        peer.attributes.push(LinkAttribute::NetNsFd(far_namespace.as_raw_fd()));
        let mut link = link(near);
        let data = InfoData::Veth(InfoVeth::Peer(peer));
        link.attributes
            .push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data)]));
        self.messages.push(RouteNetlinkMessage::NewLink(link));
        self
    }

    /// The loopback interface, up.
    pub(super) fn loopback_up(self) -> Self {
        self.up(LOOPBACK_INDEX)
    }

    fn up(mut self, index: u32) -> Self {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.messages.push(RouteNetlinkMessage::SetLink(link));
        self
    }

    /// An interface up, with its address in a network of `prefix` bits, and where the other end is, so that nobody
    /// asks by ARP.
    pub(super) fn interface_up(mut self, end: End, prefix: u8, other: End) -> Self {
        self = self.up(end.index);
        let mut address = AddressMessage::default();
        address.header.family = AddressFamily::Inet;
        address.header.prefix_len = prefix;
        address.header.index = end.index;
        address.attributes.push(AddressAttribute::Local(end.address.into()));
        address.attributes.push(AddressAttribute::Address(end.address.into()));
        self.messages.push(RouteNetlinkMessage::NewAddress(address));

        let mut neighbour = NeighbourMessage::default();
        neighbour.header.family = AddressFamily::Inet;
        neighbour.header.ifindex = end.index;
        neighbour.header.state = NeighbourState::Permanent;
        neighbour.header.kind = RouteType::Unspec;
        neighbour.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(other.address)));
        neighbour.attributes.push(NeighbourAttribute::LinkLayerAddress(other.mac.to_vec()));
        self.messages.push(RouteNetlinkMessage::NewNeighbour(neighbour));
        self
    }

    /// The way to everywhere.
    pub(super) fn default_route(mut self, gateway: Ipv4Addr) -> Self {
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Static;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        route.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
        self.messages.push(RouteNetlinkMessage::NewRoute(route));
        self
    }

    /// Sends all of it in the calling thread's namespace and waits until the kernel has done it.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) fn run(self) -> io::Result<()> {
        let count = self.messages.len();
        let mut bytes = Vec::new();
        for (sequence, message) in self.messages.into_iter().enumerate() {
            let mut message = NetlinkMessage::from(message);
            message.header.sequence_number = sequence as u32;
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len(), 0);
            message.serialize(&mut bytes[start..]);
        }
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(&bytes, 0)?;
        let mut acknowledged = 0;
        while acknowledged < count {
            let (answer, _) = socket.recv_from_full()?;
            acknowledged += acknowledgements(&answer)?;
        }
        Ok(())
    }
}

fn link(end: End) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = end.index;
    link.attributes.push(LinkAttribute::IfName(end.name.to_owned()));
    link.attributes.push(LinkAttribute::Address(end.mac.to_vec()));
    link
}

/// Counts the acknowledgements in a datagram; the first refusal among them is the error.
fn acknowledgements(mut datagram: &[u8]) -> io::Result<usize> {
    let mut count = 0;
    while !datagram.is_empty() {
        let message =
            NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram).map_err(io::Error::other)?;
        if let NetlinkPayload::Error(answer) = &message.payload {
            match answer.code {
                Some(_) => return Err(answer.to_io()),
                None => count += 1,
            }
        }
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    Ok(count)
}
