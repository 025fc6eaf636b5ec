//! What a packet says, for people who watch.

use lb_common::{Address, FlowKey, Tuple};

use crate::headers::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::parse::{Parsed, link, parse_any};
use crate::select::frontend_key;
use crate::work::Work;
use crate::{Family, Maps, Packet, Scratch, V4, V6};

/// Fills in `scratch.event.before`, or `.after` when the packet was handled. Not inlined, for its stack.
#[inline(never)]
pub fn describe<P: Packet>(packet: &mut P, scratch: &mut Scratch, handled: bool) {
    let Scratch { v4, v6, event, .. } = scratch;
    let tuple = if handled { &mut event.after } else { &mut event.before };
    clear(tuple);
    match link(packet) {
        Some((ETHERTYPE_IPV4, l3)) => fill::<V4, P>(packet, l3, v4, 4, tuple),
        Some((ETHERTYPE_IPV6, l3)) => fill::<V6, P>(packet, l3, v6, 6, tuple),
        _ => {}
    }
}

#[inline(always)]
fn fill<F: Family, P: Packet>(packet: &mut P, l3: u8, work: &mut Work<F>, version: u8, tuple: &mut Tuple) {
    let parsed: &mut Parsed<F> = &mut work.parsed;
    parsed.ip.l3 = l3;
    parsed.flags = 0;
    (parsed.key.source_port, parsed.key.destination_port) = ([0; 2], [0; 2]);
    if parse_any(packet, parsed).is_err() {
        return;
    }
    put_address(&mut tuple.source, &parsed.key.source);
    put_address(&mut tuple.destination, &parsed.key.destination);
    tuple.source_port = parsed.key.source_port;
    tuple.destination_port = parsed.key.destination_port;
    tuple.protocol = parsed.key.protocol;
    tuple.ip_version = version;
    tuple.tcp_flags = if parsed.key.protocol == lb_common::protocol::TCP { parsed.flags } else { 0 };
}

/// The service id of the packet that `scratch.event.before` tells of, or zero. Not inlined, for its stack.
#[inline(never)]
pub fn service<M: Maps<V4> + Maps<V6>>(maps: &mut M, scratch: &mut Scratch) -> u32 {
    let Scratch { v4, v6, event, .. } = scratch;
    match event.before.ip_version {
        4 => service_of::<V4, M>(maps, &event.before, &mut v4.parsed.key),
        6 => service_of::<V6, M>(maps, &event.before, &mut v6.parsed.key),
        _ => 0,
    }
}

#[inline(always)]
fn service_of<F: Family, M: Maps<F>>(maps: &mut M, tuple: &Tuple, key: &mut FlowKey<F::Address>) -> u32 {
    key.source = get(&tuple.source);
    key.destination = get(&tuple.destination);
    key.source_port = tuple.source_port;
    key.destination_port = tuple.destination_port;
    key.protocol = tuple.protocol;
    if let Some(flow) = maps.flow(key) {
        return flow.service;
    }
    maps.frontend(&frontend_key(key)).map_or(0, |frontend| frontend.service)
}

#[inline(always)]
fn clear(tuple: &mut Tuple) {
    put_address(&mut tuple.source, &[0; 16]);
    put_address(&mut tuple.destination, &[0; 16]);
    (tuple.source_port, tuple.destination_port) = ([0; 2], [0; 2]);
    (tuple.protocol, tuple.ip_version, tuple.tcp_flags, tuple.pad) = (0, 0, 0, 0);
}

/// Writes an address of either family into the first bytes, word by word: a copy of a slice becomes a call.
#[inline(always)]
pub fn put_address<A: Address>(bytes: &mut [u8; 16], address: &A) {
    for (index, word) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        if index < A::WORDS {
            *word = address.word(index).to_ne_bytes();
        }
    }
}

#[inline(always)]
fn get<A: Address>(bytes: &[u8; 16]) -> A {
    match A::read_from_prefix(bytes) {
        Ok((address, _)) => address,
        Err(_) => A::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_in_the_first_bytes() {
        let (v4, v6): ([u8; 4], [u8; 16]) = ([10, 1, 2, 3], core::array::from_fn(|index| index as u8));
        let mut bytes = [0; 16];
        put_address(&mut bytes, &v4);
        assert_eq!((bytes[..4].to_vec(), get::<[u8; 4]>(&bytes)), (v4.to_vec(), v4));
        put_address(&mut bytes, &v6);
        assert_eq!((bytes, get::<[u8; 16]>(&bytes)), (v6, v6));
    }
}
