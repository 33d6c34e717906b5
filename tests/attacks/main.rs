//! The edge that talks to the token endpoint, under attack: the real client, over a real socket, against a server that
//! speaks bytes and can do anything. Whatever it does, the token leaves at most once, a pair that came is taken, no
//! secret is told, little is read, and the user is told what the documentation says.
//!
//! | file | tells |
//! |---|---|
//! | [`siege`] | what holds in every attack, and what the user sees after it |
//! | [`server`], [`certificates`] | the hostile server: sockets and TLS |
//! | [`hunt`] | how secrets are looked for, also in what the libraries log |
//! | [`statuses`], [`bodies`] | complete answers: strange statuses and headers, strange texts |
//! | [`codings`] | answers that were compressed unasked, rightly and wrongly |
//! | [`lengths`], [`cuts`] | answers that are too long, lie about their length, drip, or break off |
//! | [`ghosts`] | requests whose socket was given up |
//! | [`whole`] | pairs that arrived whole although their connection did not end as it should |
//! | [`handshakes`], [`sessions`] | TLS, until it stands and after |
//! | [`redirects`], [`proxies`] | whoever else is on the way |
//! | [`webhook`] | whoever is told by webhook |
//! | [`inner`], [`memory`], [`logs`] | what belongs to a process: what floods cost, what the program logs |

mod bodies;
mod certificates;
mod codings;
mod cuts;
mod ghosts;
mod handshakes;
mod hunt;
mod inner;
mod lengths;
mod logs;
mod memory;
mod proxies;
mod redirects;
#[allow(dead_code, reason = "the pure tests use the rest of it")]
#[path = "../domain/scenes.rs"]
mod scenes;
mod server;
mod sessions;
mod siege;
mod statuses;
mod webhook;
mod whole;

/// Each attack is a test of its own: `the_rule: attack => outcome;`.
macro_rules! attacks {
    ($($(#[$about:meta])* $rule:ident: $attack:expr => $expected:expr;)+) => {$(
        $(#[$about])*
        #[tokio::test]
        async fn $rule() {
            $attack.ends_as($expected).await;
        }
    )+};
}
use attacks;
