//! Sockets, TLS, and whoever is on the way.

pub mod certificates;
pub mod ghosts;
pub mod handshakes;
pub mod proxies;
pub mod redirects;
pub mod sessions;
