//! Explores a scenario to its end, breadth first, so that what is found is found by the shortest way.

use std::{env, thread, time::Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::{protocol::World, scenarios::Scenario, transcript::transcript};

/// What came of it.
struct Explored {
    /// Broken invariants, each with the shortest way to it.
    broken: Vec<(&'static str, String)>,
    /// Promises that were not kept.
    missed: Vec<&'static str>,
}

/// Whether larger bounds are asked for.
fn is_deep() -> bool {
    env::var("PLEO_MODEL").is_ok_and(|bounds| bounds == "deep")
}

/// No invariant is broken, and all that was promised is seen. `deeper` makes of the scenario what `make model` explores.
pub fn holds(scenario: Scenario, deeper: impl FnOnce(Scenario) -> Scenario) {
    let explored = explore(if is_deep() { deeper(scenario) } else { scenario });
    if let Some((name, way)) = explored.broken.first() {
        panic!("broken: {name}\n{way}");
    }
    assert!(explored.missed.is_empty(), "never seen: {:?}", explored.missed);
}

/// A mistake is found: this invariant is broken.
pub fn breaks(scenario: Scenario, invariant: &str) {
    let explored = explore(scenario);
    let found: Vec<_> = explored.broken.iter().map(|(name, _)| *name).collect();
    assert!(found.iter().any(|name| name.starts_with(invariant)), "found {found:?} instead");
    if let Some((name, way)) = explored.broken.first() {
        println!("{name}\n{way}");
    }
}

fn explore(scenario: Scenario) -> Explored {
    let (begun, world) = (Instant::now(), World::new(scenario));
    let properties = world.properties();
    // One thread: only then the first way that is found is the shortest.
    let checker = world
        .checker()
        .threads(1)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(env::var("CAP").ok().and_then(|c| c.parse().ok()).unwrap_or(0))
        .spawn_bfs()
        .join();
    let current = thread::current();
    println!(
        "{}: {} states, {} of them different, {} steps deep, {:.1} s",
        current.name().unwrap_or_default(),
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64()
    );
    let mut found = checker.discoveries();
    let (mut broken, mut missed) = (Vec::new(), Vec::new());
    for property in properties {
        match (property.expectation, found.remove(property.name)) {
            (Expectation::Sometimes, None) => missed.push(property.name),
            (Expectation::Always, Some(way)) => broken.push((property.name, way.into_vec())),
            _ => {}
        }
    }
    broken.sort_by_key(|(_, way)| way.len());
    Explored { broken: broken.into_iter().map(|(name, way)| (name, transcript(way))).collect(), missed }
}
