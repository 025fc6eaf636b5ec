//! How backends are chosen: by weight, or as the last time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use tests::manifests::service;
use tests::net::Family;
use tests::traffic::{Way, Worker, chi_square, chi_square_bound};

use crate::{World, vip};

const CONNECTS: usize = 4_000;

/// Pearson's statistic for 3 to 1, of two backends.
fn statistic(worker: &Worker, way: Way, to: SocketAddr) -> f64 {
    let answers = worker.tally(way, CONNECTS, to, None).unwrap_or_else(|error| panic!("{to}: {error:?}"));
    let of = |name: &str| answers.get(name).copied().unwrap_or(0);
    assert_eq!(of("backend-3"), 0, "{way:?} {to}: a weight of zero");
    assert_eq!(answers.values().sum::<u64>(), u64::try_from(CONNECTS).unwrap());
    let statistic = chi_square(&[(of("backend-1"), 0.75), (of("backend-2"), 0.25)]);
    println!("{way:?} {to}: {answers:?}, chi-square {statistic:.2}");
    statistic
}

#[test]
fn sockets_spread_as_the_weights_say() {
    let world = World::lay(&[("backend-1", 3), ("backend-2", 1), ("backend-3", 0)]);
    let _agent = world.agent(&[]);
    let bound = chi_square_bound(2).unwrap();
    let host = world.host();
    for family in Family::ALL {
        for way in Way::ALL {
            let to = vip(family, way.protocol());
            // The kernel numbers sockets as it likes: chance exceeds the bound once in a thousand times, and twice in a
            // row once in a million.
            let first = statistic(&host, way, to);
            assert!(first < bound || statistic(&host, way, to) < bound, "{way:?} {to}: {first:.2} > {bound}");
        }
    }
}

/// The Service with session affinity for so many seconds.
fn affine(world: &World, seconds: u32) {
    let config = format!("sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {seconds}}}}}");
    let text = service().replace("spec:\n", &format!("spec:\n  sessionAffinity: ClientIP\n  {config}\n"));
    world.manifests.write("10-service.yaml", &text).unwrap();
}

/// The one backend that answers several new sockets.
fn only(place: &str, worker: &Worker, way: Way, to: SocketAddr) -> String {
    let answers = worker.tally(way, 10, to, None).unwrap_or_else(|error| panic!("{place} {to}: {error:?}"));
    let names: Vec<String> = answers.into_keys().collect();
    let [name] = names.as_slice() else { panic!("{place} {way:?} {to}: {names:?}") };
    name.clone()
}

#[test]
fn a_pod_stays_with_its_backend_until_its_time_is_over() {
    let world = World::with_all();
    affine(&world, 1);
    let _agent = world.agent(&[]);
    let places = [("host", world.host()), ("pod", world.pod()), ("neighbour", world.neighbour())];
    // The ports of a Service are Services of their own; both ways of UDP are one.
    let targets: Vec<_> = Family::ALL
        .into_iter()
        .flat_map(|family| Way::ALL.map(|way| (way, vip(family, way.protocol()))))
        .collect();
    let mut seen = vec![BTreeSet::new(); places.len() * targets.len()];
    let mut apart = BTreeSet::new();
    // One of three is chosen so often in a row once in a million times; mostly two or three rounds are enough.
    for _ in 0..14 {
        let mut seen_now = seen.iter_mut();
        for (way, to) in &targets {
            let chosen = places.each_ref().map(|(place, worker)| only(place, worker, *way, *to));
            for (pair, (one, other)) in [(0, 1), (0, 2), (1, 2)].into_iter().enumerate() {
                apart.extend((chosen[one] != chosen[other]).then_some(pair));
            }
            for name in chosen {
                seen_now.next().unwrap().insert(name);
            }
        }
        if seen.iter().all(|seen| seen.len() > 1) && apart.len() == 3 {
            return;
        }
        // Whole seconds are counted, of which the first may be over at once.
        sleep(Duration::from_millis(2_100));
    }
    panic!("a client never left its backend, or two always had the same: {seen:?}, {apart:?}");
}

#[test]
fn affinity_outlives_sockets_and_follows_the_endpoints() {
    let world = World::with_all();
    affine(&world, 3_600);
    let agent = world.agent(&[]);
    for (place, worker) in world.places() {
        for family in Family::ALL {
            let [tcp, udp, _] = Way::ALL.map(|way| only(place, &worker, way, vip(family, way.protocol())));
            sleep(Duration::from_millis(1_100));
            let again = Way::ALL.map(|way| only(place, &worker, way, vip(family, way.protocol())));
            assert_eq!(again, [tcp.clone(), udp.clone(), udp], "{place} {family:?}");
        }
    }
    let pod = world.pod();
    let to = vip(Family::V4, Way::Tcp.protocol());
    let first = only("pod", &pod, Way::Tcp, to);
    let others: Vec<_> = crate::ALL.into_iter().filter(|(name, _)| *name != first).collect();
    world.endpoints(&others);
    crate::until("another backend", &agent, || {
        pod.tally(Way::Tcp, 1, to, None).is_ok_and(|answers| !answers.contains_key(&first))
    });
    let second = only("pod", &pod, Way::Tcp, to);
    assert_ne!(second, first);
    world.endpoints(&crate::ALL);
    crate::until("the first backend", &agent, || {
        agent.get("backends", "json").unwrap().contains(&world.backend(&first).v4.to_string())
    });
    assert_eq!(only("pod", &pod, Way::Tcp, to), second, "it stays where it is");
}
