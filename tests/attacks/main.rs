//! The edge that talks to the token endpoint, under attack: the real client, over a real socket, against a server that
//! speaks bytes and can do anything. Whatever it does, the token leaves at most once, a pair that came is taken, no
//! secret is told, little is read, and the user is told what the documentation says.
//!
//! | folder | about |
//! |---|---|
//! | [`support`] | the hostile server, what holds in every attack, and how secrets are looked for |
//! | [`responses`] | strange statuses, bodies, lengths and compressions; answers that break off |
//! | [`connections`] | TLS until it is established and after; redirects, proxies, abandoned sockets |
//! | [`webhook`] | whoever is notified by webhook |
//! | [`proxy`] | the proxy between a hostile client and a hostile API |
//! | [`reports`] | the port for reports of rejected tokens |
//! | [`process`] | what floods cost, what the program logs |

use pleo_test_support::scenes;

mod connections;
mod process;
mod proxy;
mod reports;
mod responses;
mod support;
mod webhook;

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
